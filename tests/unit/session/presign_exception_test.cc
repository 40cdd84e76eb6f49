// What an exception in the middle of a check leaves behind: nothing that goes on.
#include <catch2/catch.hpp>

#include "tests/support/presign_cluster.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

TEST_CASE("an exception between two checks ends its presigning run, and bans nobody",
          "[presign][burn]") {
  const auto at = GENERATE(1, 2);
  CAPTURE(at);
  PresignCluster cluster(1, 3, 3);
  auto& node = cluster.node(0);
  int seen = 0;
  node.on_checking = [&](const ipc::Checking&) {
    if (++seen == at) {
      // As UserWorker does when its supervisor does not read: not begun, and not announced.
      node.open_checks.pop_back();
      throw std::runtime_error("no check can be announced");
    }
  };
  static_cast<void>(cluster.presign(1));
  cluster.run(3 * kSecond);
  REQUIRE(seen >= at);
  CHECK(cluster.counters(0).exceptions == 1);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.counters(i).burns == 0);
    CHECK(cluster.counters(i).misbehaviours == 0);
    CHECK(cluster.node(i).store->pairs.empty());
    CHECK(cluster.node(i).open_checks.empty());
  }
  cluster.run(30 * kSecond);
  CHECK(cluster.presign(3) == 3);
  cluster.sign_one();
}

TEST_CASE("an exception between two checks of a signature ends its session, and bans nobody",
          "[burn]") {
  PresignCluster cluster(2, 3, 3);
  auto& node = cluster.node(0);
  int seen = 0;
  node.on_checking = [&](const ipc::Checking&) {
    if (++seen == 2) {
      node.open_checks.pop_back();
      throw std::runtime_error("no check can be announced");
    }
  };
  const auto works = cluster.ask_all(cluster.sign(cluster.ecdsa_request()).envelope);
  REQUIRE(cluster.settle({works[0]}));
  CHECK(std::get<Error>(cluster.answer(works[0]).content).code == ErrorCode::kHandlerFailed);
  REQUIRE(cluster.settle(works));
  cluster.run(3 * kSecond);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.counters(i).burns == 0);
    CHECK(cluster.node(i).store->pairs.empty());
  }
  cluster.sign_one();
}
