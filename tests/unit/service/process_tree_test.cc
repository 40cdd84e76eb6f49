// Zygotes that hang: at their start, at an order, at their end.

#include "supervisor/service/process_tree.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/seqpacket.h"
#include "tests/unit/service/node_fixture.h"
#include "tests/unit/service/python_zygote.h"

namespace cosigner::supervisor::test {
namespace {

/// With an order. A start takes as long as the machine lets a shell take.
constexpr ProcessTree::Patience kShort{.answer_ms = 50, .start_ms = 10'000};

/// Ends the last zygote, which does not do so by itself.
void end(Loop& loop, ProcessTree& tree) {
  tree.stop();
  REQUIRE(loop.until([&] { return tree.pid() == 0; }));
}

/// Of this process, zombies included.
std::vector<pid_t> children() {
  std::vector<pid_t> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(task.path() / "children");
    for (pid_t pid = 0; list >> pid;) {
      found.push_back(pid);
    }
  }
  return found;
}

/// The limit on descriptors while it lives: none with this number or a higher one.
class FewDescriptors {
 public:
  explicit FewDescriptors(rlim_t most) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const rlimit low{most, before_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
  }
  ~FewDescriptors() { ::setrlimit(RLIMIT_NOFILE, &before_); }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  rlimit before_{};
};

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

TEST_CASE("process tree: who was forked and could not be told of is gone before its order fails") {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  // As if the process between zygote and child had been killed after its fork.
  const std::string script = python_zygote(R"(def child(fd):
    socket.socket(fileno=fd).recv(1)
    os._exit(0)
)",
                                           R"([order, 0, "lost %d" % pid] if order == 2
                      else [order, pid, ""])");
  ProcessTree tree(loop.get(), files.script(script, "/usr/bin/python3"), random, [] {});
  REQUIRE(tree.start());
  REQUIRE(loop.until([&] { return tree.ready(); }));
  std::vector<ipc::UniqueFd> ours;
  std::vector<pid_t> told;
  std::vector<std::string> failures;
  const auto order = [&](std::uint64_t generation) {
    auto pair = ipc::socket_pair(SOCK_STREAM);
    REQUIRE(pair);
    ours.push_back(std::move(pair->first));
    tree.fork(ipc::Role::kWorker, "alice", generation, {std::move(pair->second), {}},
              [&](pid_t pid, const std::string& error) {
                if (pid > 0) {
                  tree.know(pid);
                  told.push_back(pid);
                  return;
                }
                failures.push_back(error);
                const pid_t lost = error.starts_with("lost ") ? std::stoi(error.substr(5)) : 0;
                CHECK(lost > 0);
                CHECK(::kill(lost, 0) != 0);
              });
  };
  order(1);
  order(2);
  order(3);
  REQUIRE(loop.until([&] { return failures.size() == 1; }));
  REQUIRE(told.size() ==
          2);  // the failure was told last: nobody could be mistaken for the lost one
  order(4);
  REQUIRE(loop.until([&] { return told.size() == 3; }));
  for (const pid_t pid : told) {
    CHECK(::kill(pid, 0) == 0);
    reap_child(pid);
    tree.forget(pid);
  }
  CHECK(tree.restarts() == 0);
  end(loop, tree);
}

TEST_CASE("zygote: a start that fails for want of descriptors leaves no child") {
  Loop loop;
  NodeFiles files;
  const std::string program = files.mute_zygote();
  const int lowest_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(lowest_free >= 0);
  ::close(lowest_free);
  const std::vector<pid_t> before = children();
  bool exited = false;
  std::unique_ptr<Zygote> started;
  std::size_t failed = 0;
  while (!started) {
    REQUIRE(failed < 100);
    auto launched = [&] {
      const FewDescriptors few(static_cast<rlim_t>(lowest_free) + failed);
      return Zygote::launch(loop.get(), program,
                            {.on_ready = [] {},
                             .on_forked = [](std::uint64_t, pid_t, const std::string&) {},
                             .on_unsent = [](std::uint64_t, const std::string&) {},
                             .on_exit = [&exited](ExitStatus) { exited = true; },
                             .known_children = [] { return std::vector<pid_t>(); }});
    }();
    if (launched) {
      started = std::move(*launched);
      continue;
    }
    ++failed;
    CHECK(children() == before);  // neither one that runs nor one that nobody has waited for
  }
  CHECK(failed >= 2);
  started->kill(SIGKILL);
  REQUIRE(loop.until([&] { return exited; }));
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
