// Rules of seccomp: what fails on the way is told at the end, and nothing comes of the rest.

#include "ipc/seccomp_rules.h"

#include <linux/filter.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "ipc/unique_fd.h"

namespace cosigner::ipc::test {
namespace {

std::size_t size_of(const UniqueFd& file) {
  struct stat info{};
  REQUIRE(::fstat(file.get(), &info) == 0);
  return static_cast<std::size_t>(info.st_size);
}

}  // namespace

TEST_CASE("seccomp rules become a program of the kernel's instructions") {
  const UniqueFd one(::memfd_create("one", MFD_CLOEXEC));
  const UniqueFd three(::memfd_create("three", MFD_CLOEXEC));
  constexpr int kCalls[] = {SCMP_SYS(read), SCMP_SYS(write)};
  SeccompRules few(SCMP_ACT_ERRNO(EPERM));
  few.add(SCMP_ACT_ALLOW, kCalls);
  REQUIRE(few.write(one.get()));
  SeccompRules more(SCMP_ACT_ERRNO(EPERM));
  more.add(SCMP_ACT_ALLOW, kCalls);
  constexpr SeccompRules::Narrow kNarrow[] = {{SCMP_SYS(mmap), 2, PROT_EXEC, 0}};
  more.allow(kNarrow);
  REQUIRE(more.write(three.get()));
  CHECK(size_of(one) > 0);
  CHECK(size_of(one) % sizeof(sock_filter) == 0);
  CHECK(size_of(three) > size_of(one));  // the condition needs instructions too
}

TEST_CASE("a seccomp rule that is refused leaves nothing in force") {
  const UniqueFd file(::memfd_create("none", MFD_CLOEXEC));
  SeccompRules rules(SCMP_ACT_ALLOW);
  rules.add(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mount));
  rules.add(SCMP_ACT_ALLOW, SCMP_SYS(getpid));  // says nothing: it is allowed already
  rules.add(SCMP_ACT_ERRNO(EPERM), SCMP_SYS(getppid));
  const auto written = rules.write(file.get());
  REQUIRE_FALSE(written);
  CHECK(written.error().message.starts_with("seccomp: "));
  CHECK(size_of(file) == 0);
  CHECK_FALSE(rules.load());
  CHECK(::getppid() > 0);
}

}  // namespace cosigner::ipc::test
