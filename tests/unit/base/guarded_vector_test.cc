// Memory for secrets that wait.

#include "crypto/base/guarded_vector.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <string>

using namespace cosigner;

#ifndef COSIGNER_SANITIZED  // those make mlock() do nothing

namespace {

std::size_t locked_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmLck:")) {
      return std::stoul(line.substr(6));
    }
  }
  return 0;
}

}  // namespace

TEST_CASE("a guarded vector is locked in memory, cannot be written to, and gives its memory back") {
  const std::size_t before = locked_kib();
  {
    const ByteVector secret(17000, 0x5a);
    GuardedVector guarded{secret};
    CHECK(guarded.expose().size() == secret.size());
    CHECK(std::ranges::equal(guarded.expose(), secret));
    CHECK(locked_kib() >= before + 17000 / 1024);
    GuardedVector moved = std::move(guarded);
    CHECK(guarded.empty());  // NOLINT(bugprone-use-after-move): that is what is tested
    CHECK(guarded.expose().empty());
    CHECK(moved.expose()[16999] == 0x5a);
    const pid_t writer = ::fork();
    if (writer == 0) {
      ::signal(SIGSEGV, SIG_DFL);
      const_cast<volatile std::uint8_t&>(moved.expose()[0]) = 1;
      ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(writer, &status, 0) == writer);
    CHECK(WIFSIGNALED(status));
    moved = GuardedVector{ByteVector{1, 2}};
    CHECK(moved.expose().size() == 2);
    moved = GuardedVector();
    CHECK(moved.empty());
    CHECK(GuardedVector{ByteView{}}.empty());
  }
  CHECK(locked_kib() == before);
}

#endif
