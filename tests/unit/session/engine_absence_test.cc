// The engine where nodes are absent, late or ignorant of a request.
#include <catch2/catch.hpp>

#include "tests/unit/session/engine_answers.h"

using namespace cosigner;
using namespace cosigner::test;

TEST_CASE("fewer than t present: quorum_unavailable at once, naming who is missing", "[engine]") {
  EngineCluster cluster(9, 3);
  cluster.make_key("k", 2);
  cluster.set_present(cluster.node(1), false);
  cluster.set_present(cluster.node(2), false);
  const std::uint64_t id =
      cluster.ask(cluster.node(0), cluster.sign(cluster.sign_request("k", {1})).envelope);
  REQUIRE(cluster.settle({id}, 10 * kMs));
  const Error* error = error_of(cluster.answer(id));
  REQUIRE(error != nullptr);
  CHECK(error->code == ErrorCode::kQuorumUnavailable);
  CHECK(error->message.find("n2") != std::string::npos);
  CHECK(error->message.find("n3") != std::string::npos);
  CHECK_FALSE(error->may_have_executed);
  CHECK(error->retryable);
}

TEST_CASE("an absent coordinator is skipped without a wait", "[engine]") {
  EngineCluster cluster(10, 3);
  cluster.make_key("k", 2);
  cluster.node(2).cut = true;
  cluster.set_present(cluster.node(2), false);
  for (std::uint8_t i = 0; i < 12; ++i) {
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {i})).envelope);
    REQUIRE(works.size() == 2);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.answer(works[0]).ok());
    CHECK(slowest(cluster, works) < 20 * kMs);
  }
}

TEST_CASE("a dead, stopped or cut-off node makes the first signature less than a second slower",
          "[engine]") {
  for (int how = 0; how < 3; ++how) {
    for (std::uint64_t seed = 1; seed < 8; ++seed) {
      CAPTURE(how, seed);
      EngineCluster cluster(seed, 3);
      const ByteVector key = cluster.make_key("k", 2);
      EngineCluster::Node& victim = cluster.node(2);
      const SignedRequest request = cluster.sign(cluster.sign_request("k", {1}));
      std::vector<std::uint64_t> works{cluster.ask(cluster.node(0), request.envelope),
                                       cluster.ask(cluster.node(1), request.envelope)};
      if (how != 2) {
        cluster.ask(victim, request.envelope);
      }
      // In the middle of it.
      cluster.run(static_cast<std::int64_t>(seed) * 200);
      if (how == 0) {
        cluster.spawn_us = 3600 * kSecond;
        cluster.kill(victim);
      } else if (how == 1) {
        cluster.stop(victim);
      } else {
        victim.cut = true;
      }
      REQUIRE(cluster.settle(works));
      for (const std::uint64_t id : works) {
        CHECK(cluster.answer(id).ok());
      }
      CHECK(slowest(cluster, works) < kSecond);
      // Later ones do not pay for it each time.
      std::int64_t sum = 0;
      for (std::uint8_t i = 0; i < 10; ++i) {
        const SignedRequest next = cluster.sign(cluster.sign_request("k", {2, i}));
        const std::vector<std::uint64_t> more{cluster.ask(cluster.node(0), next.envelope),
                                              cluster.ask(cluster.node(1), next.envelope)};
        REQUIRE(cluster.settle(more));
        CHECK(cluster.answer(more[0]).ok());
        CHECK(slowest(cluster, more) < kSecond);
        sum += slowest(cluster, more);
      }
      CHECK(sum < 1500 * kMs);
    }
  }
}

TEST_CASE("a request that reached one node only wakes the others", "[engine]") {
  EngineCluster cluster(11, 3);
  cluster.make_key("k", 2);
  for (std::size_t i = 0; i < 3; ++i) {
    cluster.kill(cluster.node(i));
  }
  const std::uint64_t id =
      cluster.ask(cluster.node(1), cluster.sign(cluster.sign_request("k", {1})).envelope);
  REQUIRE(cluster.settle({id}));
  CHECK(cluster.answer(id).ok());
  CHECK(cluster.work(id).answered_us - cluster.work(id).asked_us < kSecond);
  CHECK(cluster.wakes >= 1);
  CHECK(cluster.wakes <= 4);
}

TEST_CASE("a hello without its request starts nothing, and is used when the request comes",
          "[engine]") {
  EngineCluster cluster(12, 3);
  cluster.make_key("k", 2);
  cluster.watch = [](EngineCluster::Node&, const worker::Effect&) {};
  const SignedRequest request = cluster.sign(cluster.sign_request("k", {1}));
  for (std::size_t i = 0; i < 3; ++i) {
    cluster.node(i).gateway_present = false;  // no wake-up gets through
  }
  const std::uint64_t first = cluster.ask(cluster.node(0), request.envelope);
  cluster.run(600 * kMs);
  CHECK(cluster.work(first).answers.empty());
  CHECK(cluster.node(1).engine->sessions() == 0);
  CHECK(cluster.node(2).engine->sessions() == 0);
  CHECK(cluster.counters(1).hello_signatures + cluster.counters(2).hello_signatures ==
        2);  // those of the key generation
  const std::uint64_t second = cluster.ask(cluster.node(1), request.envelope);
  REQUIRE(cluster.settle({first, second}));
  CHECK(cluster.answer(first).ok());
  CHECK(cluster.answer(first) == cluster.answer(second));
}

TEST_CASE("a worker that comes five seconds late still takes part", "[engine]") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    EngineCluster cluster(seed, 2);
    cluster.make_key("k", 2);
    cluster.kill(cluster.node(1));
    cluster.spawn_us = 5 * kSecond;
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.answer(works[0]).ok());
    CHECK(cluster.answer(works[1]).ok());
    CHECK(slowest(cluster, works) < 9 * kSecond);
  }
}

TEST_CASE("a worker that dies after its promise is woken by those who wait for its acknowledgement",
          "[engine]") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    CAPTURE(seed);
    EngineCluster cluster(seed, 3);
    bool killed = false;
    cluster.watch = [&](EngineCluster::Node& node, const worker::Effect& effect) {
      if (node.name == "n3" && !killed && std::holds_alternative<ipc::StorePending>(effect)) {
        killed = true;
        // Its order is carried out or lost with it; its caller is told, and asks no more.
        cluster.after(static_cast<std::int64_t>(cluster.pick(2 * kMs)),
                      [&] { cluster.kill(cluster.node(2)); });
      }
    };
    const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
    REQUIRE(cluster.settle({works[0], works[1]}, 10 * kSecond));
    REQUIRE(killed);
    CHECK(cluster.answer(works[0]).ok());
    CHECK(cluster.answer(works[1]).ok());
    // If they had its acknowledgement before it died, it catches up at the next meeting.
    const auto next = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope);
    REQUIRE(cluster.settle(next));
    cluster.run(2 * kSecond);
    CHECK(cluster.node(2).store->active.contains("k"));
  }
}
