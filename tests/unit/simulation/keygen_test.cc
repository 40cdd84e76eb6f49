// Key generation while things go wrong: all or nothing, no share lost after its acknowledgement,
// and the same request again finishes it.
#include "tests/support/full.h"
#include "tests/unit/simulation/kill_at.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

void run_keygen(std::uint64_t seed) {
  CAPTURE(seed);
  const std::size_t nodes = 2 + seed % 4;
  EngineCluster cluster(seed, nodes);
  cluster.faults.drop = 0.2 * cluster.chance();
  cluster.faults.duplicate = 0.2 * cluster.chance();
  cluster.faults.late = 0.1 * cluster.chance();
  Request wanted = cluster.keygen_request("k", 2);
  wanted.expires_at_ms = wanted.issued_at_ms + 3'600'000;
  const SignedRequest request = cluster.sign(wanted);
  cluster.ask_all(request.envelope);
  for (int step = 0; step < 12; ++step) {
    EngineCluster::Node& victim = cluster.node(cluster.pick(nodes));
    switch (cluster.pick(5)) {
      case 0:
        cluster.kill(victim);
        break;
      case 1:
        cluster.stop(victim);
        cluster.after(static_cast<std::int64_t>(cluster.pick(2000)) * kMs,
                      [&cluster, &victim] { cluster.resume(victim); });
        break;
      case 2:
        victim.store->fail_pending = !victim.store->fail_pending;
        break;
      case 3:
        cluster.ask_all(request.envelope);
        break;
      default:
        break;
    }
    cluster.run(static_cast<std::int64_t>(cluster.pick(1 + cluster.pick(400))) * kMs);
  }
  finish_and_use(cluster, request);
}

}  // namespace

TEST_CASE("key generation survives a bad network, dying workers and full disks", "[simulation]") {
  each_seed(60, 3000, run_keygen);
}

TEST_CASE("a worker dies at every message of a key generation", "[simulation]") {
  const int seeds = rounds(1, 20);
  for (int seed = 1; seed <= seeds; ++seed) {
    for (const bool receiver : {false, true}) {
      for (std::uint64_t at = 0;; ++at) {
        if (!kill_at(static_cast<std::uint64_t>(seed), {at, true, receiver})) {
          CHECK(at > 10);
          break;
        }
      }
    }
  }
}

TEST_CASE("a worker dies at every store order of a key generation", "[simulation]") {
  const int seeds = rounds(4, 100);
  for (int seed = 1; seed <= seeds; ++seed) {
    for (std::uint64_t at = 0;; ++at) {
      if (!kill_at(static_cast<std::uint64_t>(seed), {at, false, false})) {
        CHECK(at >= 6);
        break;
      }
    }
  }
}
