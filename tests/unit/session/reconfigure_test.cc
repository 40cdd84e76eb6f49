// A configuration that changes under a running worker: sessions go on, and what begins afterwards
// follows the new one.
#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"
#include "tests/support/request_answers.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

/// What the running workers have been started with.
ipc::Reconfigured as_it_is(EngineCluster& cluster) {
  ipc::Reconfigured change;
  change.peers = cluster.peers();
  const Request request = cluster.sign_request("k", {1});
  change.initiators = {{"tester", request.initiator, {"*"}, {"*"}, 0}};
  change.settings = cluster.settings;
  return change;
}

void reconfigure(EngineCluster& cluster, const std::string& node, const ipc::Reconfigured& change) {
  cluster.node(node).engine->on_reconfigured(cluster.clock(), change);
  cluster.poke(cluster.node(node));
}

}  // namespace

TEST_CASE("a session that runs while the configuration is read again ends well", "[engine]") {
  EngineCluster cluster(1, 3);
  cluster.make_key("k", 2);
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1, 2})).envelope);
  // Under way at all three, and not done: three hops after the second has begun.
  REQUIRE(cluster.run(kMs, [&] {
    return cluster.node(0).engine->sessions() + cluster.node(1).engine->sessions() +
               cluster.node(2).engine->sessions() ==
           3;
  }));
  ipc::Reconfigured change = as_it_is(cluster);
  change.initiators.clear();
  change.settings.max_sessions = 1;
  for (const char* name : {"n1", "n2", "n3"}) {
    reconfigure(cluster, name, change);
  }
  REQUIRE(cluster.settle(works, 5 * kSecond));
  for (const std::uint64_t id : works) {
    CHECK(cluster.answer(id).ok());
  }
}

TEST_CASE("an initiator that is gone is unauthorized from then on, and authorised again with it",
          "[engine]") {
  EngineCluster cluster(2, 3);
  cluster.make_key("k", 2);
  ipc::Reconfigured change = as_it_is(cluster);
  const auto initiators = std::exchange(change.initiators, {});
  for (const char* name : {"n1", "n2", "n3"}) {
    reconfigure(cluster, name, change);
  }
  const auto refused = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope);
  REQUIRE(cluster.settle(refused, kSecond));
  for (const std::uint64_t id : refused) {
    CHECK(error_of(cluster.answer(id))->code == ErrorCode::kUnauthorized);
  }
  change.initiators = initiators;
  for (const char* name : {"n1", "n2", "n3"}) {
    reconfigure(cluster, name, change);
  }
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {2})).envelope);
  REQUIRE(cluster.settle(works, 5 * kSecond));
  CHECK(cluster.answer(works.at(0)).ok());
}

TEST_CASE("limits change: what is over a new one is refused", "[engine]") {
  EngineCluster cluster(3, 3);
  cluster.make_key("k", 2);
  ipc::Reconfigured change = as_it_is(cluster);
  change.settings.max_envelope_bytes = 1024;
  reconfigure(cluster, "n1", change);
  const std::uint64_t work = cluster.ask(
      cluster.node("n1"), cluster.sign(cluster.sign_request("k", ByteVector(2000, 1))).envelope);
  REQUIRE(cluster.settle({work}, kSecond));
  CHECK(error_of(cluster.answer(work))->code == ErrorCode::kBadRequest);
}

TEST_CASE("a peer that is gone is not heard, and the others sign without it", "[engine]") {
  EngineCluster cluster(4, 3);
  cluster.make_key("k", 2);
  ipc::Reconfigured change = as_it_is(cluster);
  std::erase_if(change.peers, [](const ipc::Peer& peer) { return peer.node == "n3"; });
  reconfigure(cluster, "n1", change);
  reconfigure(cluster, "n2", change);
  // n3 believes in the old configuration and goes on sending.
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope);
  REQUIRE(cluster.settle({works.at(0), works.at(1)}, 10 * kSecond));
  CHECK(cluster.answer(works.at(0)).ok());
  CHECK(cluster.answer(works.at(1)).ok());
  CHECK(cluster.counters(0).packets_malformed + cluster.counters(1).packets_malformed > 0);

  // And back again.
  const ipc::Reconfigured before = as_it_is(cluster);
  reconfigure(cluster, "n1", before);
  reconfigure(cluster, "n2", before);
  cluster.set_present(cluster.node("n3"), true);
  cluster.set_present(cluster.node("n2"), false);
  const auto again = cluster.ask_all(cluster.sign(cluster.sign_request("k", {2})).envelope);
  REQUIRE(cluster.settle(again, 10 * kSecond));
  CHECK(cluster.answer(again.at(0)).ok());
}

TEST_CASE("a peer with another identity is a stranger until it proves the new one", "[engine]") {
  EngineCluster cluster(5, 3);
  cluster.make_key("k", 2);
  ipc::Reconfigured change = as_it_is(cluster);
  SeededRandom random(77);
  change.peers.at(2).identity = IdentityKey::generate(random).public_key();
  reconfigure(cluster, "n1", change);
  reconfigure(cluster, "n2", change);
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope);
  REQUIRE(cluster.settle({works.at(0), works.at(1)}, 10 * kSecond));
  CHECK(cluster.answer(works.at(0)).ok());
  CHECK(cluster.counters(0).certificates_refused + cluster.counters(1).certificates_refused > 0);
}

TEST_CASE(
    "nonces are not used twice: a peer whose identity was taken away comes back with a new worker "
    "only",
    "[engine]") {
  EngineCluster cluster(6, 3);
  cluster.make_key("k", 2);
  const ipc::Reconfigured before = as_it_is(cluster);
  ipc::Reconfigured change = as_it_is(cluster);
  SeededRandom random(78);
  change.peers.at(2).identity = IdentityKey::generate(random).public_key();
  for (const auto& configuration : {change, before}) {
    reconfigure(cluster, "n1", configuration);
  }
  cluster.set_present(cluster.node("n3"), true);
  cluster.set_present(cluster.node("n2"), false);
  const std::uint64_t refused_before = cluster.counters(0).certificates_refused;
  const std::uint64_t work =
      cluster.ask(cluster.node("n1"), cluster.sign(cluster.sign_request("k", {1})).envelope);
  static_cast<void>(cluster.settle({work}, 3 * kSecond));
  CHECK(cluster.counters(0).certificates_refused > refused_before);

  cluster.kill(cluster.node("n3"));
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {2})).envelope);
  REQUIRE(cluster.settle({works.at(0)}, 15 * kSecond));
  CHECK(cluster.answer(works.at(0)).ok());
}
