// Signing while the network loses, repeats, reorders and delays, and while workers die, hang and
// are cut off, at most n − t of them at a time. One seed is one run.
#include "tests/unit/simulation/invariants.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

struct Shape {
  std::size_t nodes;
  std::uint16_t threshold;
};
constexpr Shape kShapes[] = {{2, 2}, {3, 2}, {3, 3}, {4, 3}, {5, 3}};

void run_signing(std::uint64_t seed) {
  CAPTURE(seed);
  const Shape shape = kShapes[seed % std::size(kShapes)];
  EngineCluster cluster(seed, shape.nodes);
  const ByteVector key = cluster.make_key("k", shape.threshold);
  cluster.faults.drop = 0.15 * cluster.chance();
  cluster.faults.duplicate = 0.2 * cluster.chance();
  cluster.faults.late = 0.1 * cluster.chance();
  cluster.faults.delay_high_us = 400 + static_cast<std::int64_t>(cluster.pick(5000));
  std::vector<std::uint64_t> asked;
  for (int step = 0; step < 30; ++step) {
    EngineCluster::Node& victim = cluster.node(cluster.pick(shape.nodes));
    std::size_t out = 0;
    for (std::size_t i = 0; i < shape.nodes; ++i) {
      out += cluster.node(i).stopped || cluster.node(i).cut ? 1U : 0U;
    }
    const bool allowed = out + shape.threshold < shape.nodes;
    switch (cluster.pick(8)) {
      case 0:
        cluster.kill(victim);
        break;
      case 1:
        if (allowed && victim.engine != nullptr && !victim.stopped) {
          cluster.stop(victim);
          cluster.after(static_cast<std::int64_t>(cluster.pick(3000)) * kMs,
                        [&cluster, &victim] { cluster.resume(victim); });
        }
        break;
      case 2:
        if (allowed && !victim.cut) {
          victim.cut = true;
          cluster.after(1500 * kMs,
                        [&cluster, &victim] { cluster.set_present(victim, !victim.cut); });
          cluster.after(static_cast<std::int64_t>(cluster.pick(4000)) * kMs, [&cluster, &victim] {
            victim.cut = false;
            cluster.set_present(victim, true);
          });
        }
        break;
      default: {
        const ByteVector message{static_cast<std::uint8_t>(step)};
        const SignedRequest request = cluster.sign(cluster.sign_request("k", message));
        for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
          asked.push_back(id);
        }
        if (cluster.chance() < 0.2) {  // the same request again, a moment later
          cluster.after(static_cast<std::int64_t>(cluster.pick(500)) * kMs,
                        [&cluster, request] { cluster.ask_all(request.envelope); });
        }
      }
    }
    cluster.run(static_cast<std::int64_t>(cluster.pick(300)) * kMs);
  }
  cluster.run(5 * kSecond);
  heal(cluster);
  cluster.run(30 * kSecond);
  check_invariants(cluster);
  check_usable(cluster, "k", key);
  std::size_t good = 0;
  for (const std::uint64_t id : asked) {
    good += cluster.answer(id).ok() ? 1U : 0U;
  }
  INFO(good << " of " << asked.size() << " answers are signatures");
  CHECK(good * 2 > asked.size());
}

}  // namespace

TEST_CASE("signing survives a bad network and dying workers", "[simulation]") {
  each_seed(60, 3000, run_signing);
}
