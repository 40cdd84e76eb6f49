// Two supervisors never share a state directory, nor does one begin beside what is left of another.

#include "supervisor/process/state_lock.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::supervisor::test {
namespace {

using namespace std::chrono_literals;

/// A process that has this one's open files, and does nothing.
class Heir {
 public:
  Heir() : pid_(::fork()) {
    if (pid_ == 0) {
      for (;;) {
        ::pause();
      }
    }
  }
  ~Heir() { end(); }
  Heir(const Heir&) = delete;
  Heir& operator=(const Heir&) = delete;
  void end() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }

 private:
  pid_t pid_;
};

}  // namespace

TEST_CASE("state lock: one supervisor at a time, and a message that names the directory") {
  const cosigner::test::TemporaryDirectory directory;
  const std::string path = directory.path().string();
  auto first = lock_state(path, 0ms);
  REQUIRE(first);
  const auto second = lock_state(path, 20ms);
  REQUIRE_FALSE(second);
  CHECK(second.error().code == ErrorCode::kConflict);
  CHECK(second.error().message.find(path) != std::string::npos);
  first->reset();
  CHECK(lock_state(path, 0ms));
}

TEST_CASE("state lock: whoever kept the children's file holds up the next supervisor") {
  const cosigner::test::TemporaryDirectory directory;
  const std::string path = directory.path().string();
  auto lock = lock_children(path, 0ms);
  REQUIRE(lock);
  Heir heir;
  lock->reset();  // its supervisor died
  const auto early = lock_children(path, 20ms);
  REQUIRE_FALSE(early);
  CHECK(early.error().code == ErrorCode::kConflict);
  CHECK(early.error().message.find(path) != std::string::npos);
  CHECK(lock_state(path, 0ms));  // that one is the supervisor's alone
  heir.end();
  CHECK(lock_children(path, 0ms));
}

TEST_CASE("state lock: who waits has the lock as soon as the last process has ended") {
  const cosigner::test::TemporaryDirectory directory;
  const std::string path = directory.path().string();
  auto lock = lock_children(path, 0ms);
  REQUIRE(lock);
  const pid_t brief = ::fork();
  if (brief == 0) {
    ::usleep(50'000);
    ::_exit(0);
  }
  lock->reset();
  CHECK(lock_children(path, 20s));
  REQUIRE(::waitpid(brief, nullptr, 0) == brief);
}

TEST_CASE("state lock: a state directory that cannot be written to is named") {
  const auto lock = lock_children("/proc/self", 0ms);
  REQUIRE_FALSE(lock);
  CHECK(lock.error().code == ErrorCode::kStorageFailed);
  CHECK(lock.error().message.find("/proc/self/children") != std::string::npos);
}

}  // namespace cosigner::supervisor::test
