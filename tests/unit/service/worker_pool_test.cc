// The pool around its registry: what processes do to it that only the whole of it shows.

#include "supervisor/service/worker_pool.h"

#include "supervisor/metrics/node_metrics.h"
#include "tests/unit/service/node_fixture.h"

namespace cosigner::supervisor::test {
namespace {

RequestInfo request_info() {
  RequestInfo info;
  info.gateway_generation = 1;
  info.gateway_request = 1;
  info.operation = "sign";
  info.key = "k";
  return info;
}

/// A pool whose zygote takes orders and answers none.
struct MutePool {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  Issuer issuer;
  std::unique_ptr<StoreThread> store;
  ProcessTree tree;
  NodeMetrics metrics{{.version = "test", .cluster = "dev", .node = "node1", .peers = {"node2"}}};
  std::vector<ByteVector> answers;
  int emptied = 0;
  WorkerPool pool;

  MutePool()
      : issuer(load(files.config)),
        store(files.open_store(loop, issuer)),
        tree(loop.get(), files.mute_zygote(), random, [] {}),
        pool(loop.get(), files.config, issuer, *store, tree, metrics, random,
             {.answer = [this](const RequestInfo&,
                               ByteVector envelope) { answers.push_back(std::move(envelope)); },
              .wake = [](const ipc::PublishWake&) {},
              .present = [] { return std::vector<std::string>{"node1"}; },
              .on_change = [](const action::Changed&) {},
              .on_crash = [](const std::string&, std::uint64_t, const std::string&) {},
              .decided = [](const Decision&) {},
              .on_evicted = [](const std::string&, const std::optional<Error>&) {},
              .on_empty = [this] { ++emptied; },
              .on_pair = [](const PairChange&) {}}) {
    REQUIRE(tree.start());
    REQUIRE(loop.until([this] { return tree.ready(); }));
  }
  ~MutePool() {
    tree.stop();
    if (tree.pid() != 0) {
      ::kill(tree.pid(), SIGKILL);
      loop.until([this] { return tree.pid() == 0; });
    }
  }
  static Issuer load(const Config& config) {
    auto issuer = Issuer::load(config);
    REQUIRE(issuer);
    return std::move(*issuer);
  }
  /// A user whose fork has been ordered and not answered.
  void begin_fork() {
    pool.request("alice", request_info(), ByteVector(10));
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
