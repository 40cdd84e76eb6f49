#pragma once
// A worker pool on a real store, with a script in the zygote's place.

#include "supervisor/metrics/node_metrics.h"
#include "supervisor/service/worker_pool.h"
#include "tests/unit/service/node_fixture.h"

namespace cosigner::supervisor::test {

inline RequestInfo request_info() {
  RequestInfo info;
  info.gateway_generation = 1;
  info.gateway_request = 1;
  info.operation = "sign";
  info.key = "k";
  return info;
}

struct PoolNode {
  Loop loop;
  NodeFiles files;
  SystemRandom random;
  Issuer issuer;
  std::unique_ptr<StoreThread> store;
  ProcessTree tree;
  NodeMetrics metrics{{.version = "test", .cluster = "dev", .node = "node1", .peers = {"node2"}}};
  std::vector<ByteVector> answers;
  std::vector<std::string> outcomes;
  std::vector<PairChange> pairs;
  std::vector<std::string> present{"node1"};
  int emptied = 0;
  WorkerPool pool;

  /// `program` makes the zygote's.
  template <class Program>
  explicit PoolNode(Program program)
      : loop(),  // named, as files is: clang takes the two for uninitialized in a template
        files(),
        issuer(load(files.config)),
        store(files.open_store(loop, issuer)),
        tree(loop.get(), program(files), random, [] {}),
        pool(loop.get(), files.config, issuer, *store, tree, metrics, random,
             {.answer = [this](const RequestInfo&,
                               ByteVector envelope) { answers.push_back(std::move(envelope)); },
              .wake = [](const ipc::PublishWake&) {},
              .present = [this] { return present; },
              .on_change = [](const action::Changed&) {},
              .on_crash = [](const std::string&, std::uint64_t, const std::string&) {},
              .decided = [this](const Decision& one) { outcomes.emplace_back(one.outcome); },
              .on_evicted = [](const std::string&, const std::optional<Error>&) {},
              .on_empty = [this] { ++emptied; },
              .on_pair = [this](const PairChange& change) { pairs.push_back(change); }}) {
    REQUIRE(tree.start());
    REQUIRE(loop.until([this] { return tree.ready(); }));
  }
  ~PoolNode() {
    pool.drain(0);
    loop.until([this] { return pool.pids().empty(); });
    tree.stop();
    if (tree.pid() != 0) {
      ::kill(tree.pid(), SIGKILL);
      loop.until([this] { return tree.pid() == 0; });
    }
  }
  PoolNode(const PoolNode&) = delete;
  PoolNode& operator=(const PoolNode&) = delete;

  static Issuer load(const Config& config) {
    auto issuer = Issuer::load(config);
    REQUIRE(issuer);
    return std::move(*issuer);
  }
  void request(const std::string& user) { pool.request(user, request_info(), ByteVector(10)); }
  [[nodiscard]] UserView user(const std::string& name) const {
    const auto view = pool.registry().user(monotonic_ms(), name);
    REQUIRE(view);
    return *view;
  }
  /// Whatever the store was asked before has been answered.
  void await_store() {
    bool done = false;
    store->submit(
        StoreThread::Urgency::kNow, [](Store&) { return Expected<void>(); },
        [&done](const Expected<void>&) { done = true; });
    REQUIRE(loop.until([&done] { return done; }));
  }
};

}  // namespace cosigner::supervisor::test
