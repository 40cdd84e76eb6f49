// The pool around its registry: what processes do to it that only the whole of it shows.

#include "tests/unit/service/pool_fixture.h"

namespace cosigner::supervisor::test {
namespace {

/// A pool whose zygote takes orders and answers none.
struct MutePool : PoolNode {
  MutePool() : PoolNode([](const NodeFiles& made) { return made.mute_zygote(); }) {}
  /// A user whose fork has been ordered and not answered.
  void begin_fork() {
    request("alice");
    REQUIRE(loop.until([this] { return pool.registry().live() == 1; }));
    CHECK(emptied == 0);
  }
};

}  // namespace

TEST_CASE("worker pool: a drain ends when the last fork comes to nothing") {
  MutePool node;
  node.begin_fork();
  node.pool.drain(10'000);
  REQUIRE(node.answers.size() == 1);  // shutting_down, at once
  CHECK(node.emptied == 0);           // there may be a process yet
  ::kill(node.tree.pid(), SIGKILL);   // the zygote: now there is not
  REQUIRE(node.loop.until([&] { return node.emptied > 0; }));
  CHECK(node.pool.registry().live() == 0);
  node.pool.drain(0);
  CHECK(node.emptied == 1);
}

TEST_CASE("worker pool: the tree's end fails what the zygote left undone") {
  MutePool node;
  node.begin_fork();
  node.pool.drain(10'000);
  node.tree.stop();  // the zygote is deaf to its socket's end, too
  REQUIRE(node.loop.until([&] { return node.emptied == 1; }));
  REQUIRE(node.loop.until([&] { return node.tree.pid() == 0; }));
  std::string why;
  node.tree.fork(ipc::Role::kGateway, {}, 99, {}, [&](pid_t pid, const std::string& error) {
    CHECK(pid == 0);
    why = error;
  });
  REQUIRE(node.loop.until([&] { return !why.empty(); }));
  CHECK(why == "the node is shutting down");
}

}  // namespace cosigner::supervisor::test
