// A burn that cannot be carried out ends the worker, inside the check: its supervisor then counts a
// strike. It must not end the session alone, with a worker that goes on as if nothing had been.
#include <catch2/catch.hpp>
#include <new>

#include "tests/support/ecdsa_cluster.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// Throws while `fails`, as OpenSSL's generator and cipher do when they get no memory.
class FailingRandom final : public Random {
 public:
  FailingRandom(std::uint64_t seed, const bool& fails) : inner_(seed), fails_(fails) {}
  void fill(std::span<std::uint8_t> out) override {
    if (fails_) {
      throw std::runtime_error("no randomness");
    }
    inner_.fill(out);
  }

 private:
  SeededRandom inner_;
  const bool& fails_;
};

}  // namespace

TEST_CASE("a burn whose share cannot be sealed ends the worker inside the check", "[burn]") {
  bool fails = false;
  EcdsaCluster cluster(51, 3, 2);
  cluster.make_random = [&](std::uint64_t seed) {
    return std::make_unique<FailingRandom>(seed, fails);
  };
  Cheat cheat(cluster, "n3", "n1", 1);
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    CHECK_FALSE((fails && from == "n1"));  // nothing gets out
    return cheat(from, to, packet);
  };
  // The check of the OT extension draws nothing before it has failed, and the burn does: a nonce
  // for the share without the state.
  cluster.node("n1").on_checking = [&](const ipc::Checking& check) {
    fails = check.peer == "n3" && cheat.spoilt > 0;
  };
  const auto sign_on = [&] {
    for (int i = 0; i < 20; ++i) {
      static_cast<void>(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n3"));
    }
  };
  REQUIRE_THROWS_AS(sign_on(), std::bad_alloc);
  CHECK(fails);
  CHECK(cluster.counters(0).burns == 1);
  CHECK(cluster.counters(0).exceptions == 0);
  REQUIRE(cluster.node("n1").open_checks.size() == 1);
  CHECK(cluster.node("n1").open_checks.front().peer == "n3");
}

TEST_CASE("a burn that the store refuses for good ends the worker", "[burn]") {
  EcdsaCluster cluster(52, 3, 2);
  Cheat cheat(cluster, "n3", "n1", 1);
  bool ordered = false;
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    CHECK_FALSE((ordered && from == "n1"));
    return cheat(from, to, packet);
  };
  cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
    if (node.name == "n1" && std::holds_alternative<ipc::Burn>(effect)) {
      ordered = true;
      node.store->active.erase("k");  // by the time it arrives the store knows no such key
    }
  };
  const auto sign_on = [&] {
    for (int i = 0; i < 20; ++i) {
      static_cast<void>(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n3"));
    }
  };
  REQUIRE_THROWS_WITH(sign_on(), Catch::StartsWith("a ban cannot be stored"));
  CHECK(ordered);
}
