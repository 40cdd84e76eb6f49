// Warming up with a libsodium that accepts points outside the prime-order group: refused.

#include "worker/zygote/warm_up.h"

#include <dlfcn.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "ipc/unique_fd.h"
#include "ipc/worker_exit.h"

namespace {
bool vulnerable = false;  // set in forked children only
}

// In front of libsodium's: a version with CVE-2025-69277 at its worst.
extern "C" int crypto_core_ed25519_is_valid_point(const unsigned char* point) {
  using Function = int (*)(const unsigned char*);
  static const auto real =
      reinterpret_cast<Function>(::dlsym(RTLD_NEXT, "crypto_core_ed25519_is_valid_point"));
  return vulnerable ? 1 : real(point);
}

namespace {

/// Warms up in a child; its wait status and what it wrote to stderr.
std::pair<int, std::string> warm_up_with(bool bad_library) {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const cosigner::ipc::UniqueFd reading(ends[0]);
  cosigner::ipc::UniqueFd writing(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(writing.get(), 2);
    for (const int signal : {SIGABRT, SIGSEGV}) {
      ::signal(signal, SIG_DFL);  // Catch2's would report the parent's test as failed
    }
    vulnerable = bad_library;
    cosigner::worker::warm_up();
    ::_exit(0);
  }
  writing.reset();
  std::string said;
  char buffer[512];
  for (ssize_t got = 0; (got = ::read(reading.get(), buffer, sizeof buffer)) > 0;) {
    said.append(buffer, static_cast<std::size_t>(got));
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return {status, said};
}

}  // namespace

TEST_CASE("a zygote does not start on a libsodium that accepts points of mixed order") {
  const auto [good, silence] = warm_up_with(false);
  CHECK(good == 0);
  CHECK(silence.empty());
  const auto [status, said] = warm_up_with(true);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == cosigner::ipc::kExitSelfTest);
  CHECK(said.find("CVE-2025-69277") != std::string::npos);
}
