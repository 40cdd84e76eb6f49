// Zygotes that hang: at their start, at an order, at their end.

#include "supervisor/service/process_tree.h"

#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/service/node_fixture.h"

namespace cosigner::supervisor::test {
namespace {

/// With an order. A start takes as long as the machine lets a shell take.
constexpr ProcessTree::Patience kShort{.answer_ms = 50, .start_ms = 10'000};

/// Ends the last zygote, which does not do so by itself.
void end(Loop& loop, ProcessTree& tree) {
  tree.stop();
  REQUIRE(loop.until([&] { return tree.pid() == 0; }));
}

}  // namespace

TEST_CASE("process tree: a zygote that answers no order is killed and the order fails") {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  ProcessTree tree(loop.get(), files.mute_zygote(), random, [] {}, kShort);
  REQUIRE(tree.start());
  REQUIRE(loop.until([&] { return tree.ready(); }));
  const pid_t first = tree.pid();
  int failed = 0;
  for (std::uint64_t k = 0; k < 3; ++k) {
    tree.fork(ipc::Role::kWorker, "alice", k + 1, {}, [&](pid_t pid, const std::string& error) {
      CHECK(pid == 0);
      CHECK(error.starts_with("the zygote died"));
      ++failed;
    });
  }
  REQUIRE(loop.until([&] { return failed == 3; }));
  REQUIRE(loop.until([&] { return tree.ready(); }));
  CHECK(tree.pid() != first);
  CHECK(tree.restarts() == 1);
  end(loop, tree);
}

TEST_CASE("process tree: a zygote that does not come up is replaced") {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  ProcessTree tree(loop.get(), files.script("exec sleep 1000"), random, [] {},
                   {.answer_ms = 50, .start_ms = 100});
  REQUIRE(tree.start());
  REQUIRE(loop.until([&] { return tree.restarts() == 2; }));
  CHECK_FALSE(tree.ready());
  REQUIRE(loop.until([&] { return tree.pid() != 0; }));
  end(loop, tree);
}

TEST_CASE("process tree: an idle zygote is left alone, an old one that does not end is not") {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  ProcessTree tree(loop.get(), files.mute_zygote(), random, [] {}, kShort);
  REQUIRE(tree.start());
  REQUIRE(loop.until([&] { return tree.ready(); }));
  const pid_t old = tree.pid();
  // A renewal is due at most once a second; the old one is deaf to its socket's end.
  tree.note_bad_death();
  REQUIRE(loop.until([&] { return tree.renewals() == 1; }));
  REQUIRE(loop.until([&] { return ::kill(old, 0) != 0; }));
  REQUIRE(loop.until([&] { return tree.ready(); }));
  CHECK(tree.restarts() == 0);
  end(loop, tree);
}

TEST_CASE("process tree: an order that cannot be sent fails by itself") {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  ProcessTree tree(loop.get(), files.mute_zygote("exec 3>&-"), random, [] {});
  REQUIRE(tree.start());
  REQUIRE(loop.until([&] { return tree.ready(); }));
  std::string why;
  REQUIRE(loop.until([&] {
    // Those that come before its socket is closed are in it, and fail with the zygote.
    tree.fork(ipc::Role::kWorker, "alice", 1, {}, [&](pid_t pid, const std::string& error) {
      CHECK(pid == 0);
      why = error;
    });
    return why.starts_with("sendmsg");
  }));
  CHECK(tree.restarts() == 0);
  end(loop, tree);
}

TEST_CASE("reap_child ends that child and no other") {
  const auto sleeper = [] {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::pause();
      ::_exit(0);
    }
    return pid;
  };
  const pid_t one = sleeper();
  const pid_t other = sleeper();
  REQUIRE(one > 0);
  REQUIRE(other > 0);
  reap_child(one);
  CHECK(::waitpid(one, nullptr, 0) == -1);  // reaped
  CHECK(::waitpid(other, nullptr, WNOHANG) == 0);
  reap_child(other);
  CHECK(::waitpid(other, nullptr, 0) == -1);
}

}  // namespace cosigner::supervisor::test
