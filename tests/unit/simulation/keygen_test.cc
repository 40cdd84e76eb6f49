// Key generation while things go wrong: all or nothing, no share lost after its acknowledgement,
// and the same request again finishes it.
#include "tests/support/full.h"
#include "tests/unit/simulation/invariants.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

/// After all faults are gone the same request again must make the key, or have made it.
void finish_and_use(EngineCluster& cluster, const SignedRequest& request) {
  heal(cluster);
  std::optional<ByteVector> public_key;
  std::string last;
  for (int i = 0; i < 4 && !public_key; ++i) {
    cluster.run(2 * kSecond);
    const auto works = cluster.ask_all(request.envelope);
    REQUIRE(cluster.settle(works));
    std::size_t good = 0;
    for (const std::uint64_t id : works) {
      const RequestAnswer& answer = cluster.answer(id);
      if (const auto* made = std::get_if<KeygenResult>(&answer.content)) {
        ++good;
        public_key = made->public_key;
      } else {
        const auto& error = std::get<Error>(answer.content);
        last = std::string(error_name(error.code)) + ": " + error.message;
      }
    }
    if (good != works.size()) {
      public_key.reset();
    }
  }
  INFO(last);
  if (!public_key) {
    for (const std::string& line : cluster.log) {
      UNSCOPED_INFO(line);
    }
  }
  REQUIRE(public_key.has_value());
  cluster.run(kSecond);
  check_invariants(cluster);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    REQUIRE(cluster.node(i).store->active.contains("k"));
    CHECK(cluster.node(i).store->pending.empty());
  }
  check_usable(cluster, "k", *public_key);
}

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

/// A key generation in which the worker of `victim` dies when `moment` comes.
struct Moment {
  std::uint64_t at = 0;   ///< the how-manieth
  bool packets = true;    ///< packet sent by anyone, or store order of anyone
  bool receiver = false;  ///< of a packet: kill who would get it
};

/// Returns false if the key generation was over before the moment came.
bool kill_at(std::uint64_t seed, Moment moment) {
  CAPTURE(seed, moment.at, moment.packets, moment.receiver);
  EngineCluster cluster(seed, 3);
  Request wanted = cluster.keygen_request("k", 2);
  wanted.expires_at_ms = wanted.issued_at_ms + 3'600'000;
  const SignedRequest request = cluster.sign(wanted);
  std::uint64_t seen = 0;
  bool came = false;
  const auto strike = [&](const std::string& name) {
    came = true;
    cluster.after(0, [&cluster, name] { cluster.kill(cluster.node(name)); });
  };
  if (moment.packets) {
    cluster.filter = [&](const std::string& from, const std::string& to, ByteVector&) {
      if (!came && seen++ == moment.at) {
        strike(moment.receiver ? to : from);
      }
      return true;
    };
  } else {
    cluster.watch = [&](EngineCluster::Node& node, const worker::Effect& effect) {
      const bool store = std::holds_alternative<ipc::StorePending>(effect) ||
                         std::holds_alternative<ipc::StoreActivate>(effect);
      if (store && !came && seen++ == moment.at) {
        strike(node.name);
      }
    };
  }
  const auto works = cluster.ask_all(request.envelope);
  REQUIRE(cluster.settle(works));
  cluster.run(2 * kSecond);
  finish_and_use(cluster, request);
  return came;
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
