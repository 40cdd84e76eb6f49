// Presignatures while workers die and the network misbehaves: no presignature is ever used twice,
// and the next signature works.
#include "tests/support/full.h"
#include "tests/support/presign_cluster.h"
#include "tests/unit/simulation/invariants.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

void check_over(PresignCluster& cluster) {
  heal(cluster);
  cluster.run(30 * kSecond);
  check_invariants(cluster);
  cluster.check_single_use();
  cluster.sign_one();
  cluster.check_single_use();
}

/// Kills the sender or the receiver of the `at`-th packet from now on.
struct Strike {
  PresignCluster& cluster;
  std::uint64_t at;
  bool receiver;
  std::uint64_t seen = 0;
  bool came = false;

  bool operator()(const std::string& from, const std::string& to, ByteVector&) {
    if (!came && seen++ == at) {
      came = true;
      cluster.after(0, [this, name = receiver ? to : from] { cluster.kill(cluster.node(name)); });
    }
    return true;
  }
};

void run_presigned(std::uint64_t seed) {
  CAPTURE(seed);
  PresignCluster cluster(seed, 3, 2, seed % 2 == 0 ? 4 : 0);
  cluster.faults.drop = 0.1 * cluster.chance();
  cluster.faults.duplicate = 0.2 * cluster.chance();
  cluster.faults.late = 0.1 * cluster.chance();
  cluster.faults.delay_high_us = 400 + static_cast<std::int64_t>(cluster.pick(5000));
  std::vector<std::uint64_t> signing;
  for (int step = 0; step < 40; ++step) {
    EngineCluster::Node& victim = cluster.node(cluster.pick(3));
    switch (cluster.pick(8)) {
      case 0:
        cluster.kill(victim);
        break;
      case 1:
        if (!victim.stopped && victim.engine != nullptr && !cluster.node(0).stopped &&
            !cluster.node(1).stopped && !cluster.node(2).stopped) {
          cluster.stop(victim);
          cluster.after(static_cast<std::int64_t>(cluster.pick(1000)) * kMs,
                        [&cluster, &victim] { cluster.resume(victim); });
        }
        break;
      case 2:
      case 3:
        cluster.ask_all(
            cluster.sign(cluster.presign_request(1 + static_cast<std::uint32_t>(cluster.pick(9))))
                .envelope);
        break;
      default:
        for (const std::uint64_t id :
             cluster.ask_all(cluster.sign(cluster.ecdsa_request()).envelope)) {
          signing.push_back(id);
        }
    }
    cluster.run(static_cast<std::int64_t>(cluster.pick(300)) * kMs);
  }
  cluster.run(5 * kSecond);
  check_over(cluster);
  std::size_t good = 0;
  for (const std::uint64_t id : signing) {
    good += cluster.answer(id).ok() ? 1U : 0U;
  }
  INFO(good << " of " << signing.size() << " answers are signatures");
  CHECK(good * 2 > signing.size());
}

}  // namespace

TEST_CASE("presigning and presigned signing survive a bad network and dying workers",
          "[simulation]") {
  each_seed(6, 300, run_presigned);
}

TEST_CASE("checklist: presig double use: a worker dies at every packet of presigning",
          "[simulation]") {
  const int seeds = rounds(1, 10);
  for (int seed = 1; seed <= seeds; ++seed) {
    for (const bool receiver : {false, true}) {
      PresignCluster cluster(static_cast<std::uint64_t>(seed), 3, 2);
      for (std::uint64_t at = 0;; ++at) {
        CAPTURE(seed, receiver, at);
        Strike strike{cluster, at, receiver};
        cluster.filter = std::ref(strike);
        const auto works = cluster.ask_all(cluster.sign(cluster.presign_request(3)).envelope);
        REQUIRE(cluster.settle(works));
        const bool came = strike.came;
        cluster.run(kSecond);
        check_over(cluster);
        if (!came) {
          CHECK(at > 8);
          break;
        }
      }
    }
  }
}

TEST_CASE("checklist: presig double use: a worker dies at every packet of a presigned signature",
          "[simulation]") {
  const int seeds = rounds(1, 10);
  for (int seed = 1; seed <= seeds; ++seed) {
    for (const bool receiver : {false, true}) {
      PresignCluster cluster(static_cast<std::uint64_t>(seed), 3, 2);
      for (std::uint64_t at = 0;; ++at) {
        CAPTURE(seed, receiver, at);
        cluster.presign(12);
        Strike strike{cluster, at, receiver};
        cluster.filter = std::ref(strike);
        const Request request = cluster.ecdsa_request();
        const auto works = cluster.ask_all(cluster.sign(request).envelope);
        REQUIRE(cluster.settle(works));
        const bool came = strike.came;
        CHECK(cluster.check_signatures(works, request.message) >= (came ? 1 : 3));
        cluster.run(kSecond);
        check_over(cluster);
        if (!came) {
          CHECK(at >= 4);
          break;
        }
      }
    }
  }
}
