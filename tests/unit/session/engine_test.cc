// The engine in its ordinary life: keys are made, signatures made, results served again, and every
// request answered.
#include <catch2/catch.hpp>

#include "tests/unit/session/engine_answers.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

std::uint64_t total(const EngineCluster& cluster, std::uint64_t worker::Counters::* counter) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    sum += cluster.counters(i).*counter;
  }
  return sum;
}

}  // namespace

TEST_CASE("three engines make a key and sign with it", "[engine]") {
  EngineCluster cluster(1, 3);
  const ByteVector key = cluster.make_key("k", 2);
  for (const ByteVector& message :
       {ByteVector{}, ByteVector(3, 0), ByteVector{0, 0, 1}, ByteVector(64U << 10, 7)}) {
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", message)).envelope);
    REQUIRE(cluster.settle(works, 5 * kSecond));
    for (const std::uint64_t id : works) {
      const RequestAnswer& answer = cluster.answer(id);
      REQUIRE(answer.ok());
      const auto& result = std::get<SignResult>(answer.content);
      CHECK(result.public_key == key);
      CHECK(verify_signature_vartime(Scheme::kEd25519, key, message, result.signature));
    }
  }
}

TEST_CASE("every event that an engine counts is told once", "[engine]") {
  EngineCluster cluster(3, 3);
  cluster.make_key("k", 2);
  REQUIRE(cluster.settle(cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope)));
  cluster.run(kSecond);
  worker::SessionEngine& engine = *cluster.node("n1").engine;
  REQUIRE(engine.counters().sessions_succeeded >= 1);
  REQUIRE(engine.counted());
  const auto life = engine.take_metrics();
  REQUIRE(life.has_value());
  CHECK(life->events == engine.counters());
  CHECK_FALSE(engine.counted());
  CHECK_FALSE(engine.take_metrics().has_value());

  engine.on_publish_refused();
  REQUIRE(engine.counted());
  const auto since = engine.take_metrics();
  REQUIRE(since.has_value());
  CHECK(since->events == worker::Counters{.publishes_refused = 1});
  CHECK(since->requests.empty());
  CHECK_FALSE(engine.counted());
}

TEST_CASE("a 2-of-3 signature takes six packets, three hello signatures and two checks of hellos",
          "[engine]") {
  EngineCluster cluster(2, 3);
  cluster.make_key("k", 2);
  // Once around, so that everyone knows everyone.
  for (std::uint8_t i = 0; i < 10; ++i) {
    cluster.settle(cluster.ask_all(cluster.sign(cluster.sign_request("k", {i})).envelope));
    cluster.run(kSecond);
  }
  const auto before_packets = cluster.published;
  const auto before_signed = total(cluster, &worker::Counters::hello_signatures);
  const auto before_verified = total(cluster, &worker::Counters::hello_verifications);
  const auto before_certified = total(cluster, &worker::Counters::certificate_verifications);
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {99})).envelope);
  REQUIRE(cluster.settle(works));
  CHECK(cluster.published - before_packets == 6);
  CHECK(total(cluster, &worker::Counters::hello_signatures) - before_signed == 3);
  CHECK(total(cluster, &worker::Counters::hello_verifications) - before_verified == 2);
  CHECK(total(cluster, &worker::Counters::certificate_verifications) == before_certified);
  CHECK(slowest(cluster, works) < 5 * kMs);
  cluster.run(kSecond);
  CHECK(cluster.published - before_packets == 6);  // every acknowledgement rode along
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(cluster.node(i).engine->idle());
  }
}

TEST_CASE("the same request before, during and after gets the same result", "[engine]") {
  EngineCluster cluster(3, 3);
  cluster.make_key("k", 2);
  const SignedRequest request = cluster.sign(cluster.sign_request("k", {1}));
  auto works = cluster.ask_all(request.envelope);
  for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
    works.push_back(id);
  }
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
    works.push_back(id);
  }
  cluster.run(100 * kMs);
  SECTION("in one life") {}
  SECTION("and after a restart of every worker") {
    for (std::size_t i = 0; i < 3; ++i) {
      cluster.kill(cluster.node(i));
    }
  }
  SECTION("and after its expiry") {
    cluster.run(120 * kSecond);
  }
  for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
    works.push_back(id);
  }
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    REQUIRE(cluster.answer(id).ok());
    CHECK(cluster.answer(id) == cluster.answer(works[0]));
  }
}

TEST_CASE("a key generation asked for again gets the same key, also after restarts", "[engine]") {
  EngineCluster cluster(4, 3);
  Request wanted = cluster.keygen_request("k", 2);
  const SignedRequest request = cluster.sign(wanted);
  auto works = cluster.ask_all(request.envelope);
  REQUIRE(cluster.settle(works));
  for (std::size_t i = 0; i < 3; ++i) {
    cluster.kill(cluster.node(i));
  }
  for (const std::uint64_t id : cluster.ask_all(request.envelope)) {
    works.push_back(id);
  }
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    REQUIRE(cluster.answer(id).ok());
    CHECK(std::get<KeygenResult>(cluster.answer(id).content).public_key ==
          std::get<KeygenResult>(cluster.answer(works[0]).content).public_key);
  }
  // Another request for the same name does not replace it.
  for (const std::uint64_t id :
       cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope)) {
    REQUIRE(cluster.settle({id}));
    CHECK(code_of(cluster.answer(id)) == ErrorCode::kAlreadyExists);
  }
}

TEST_CASE("drain ends every request by its deadline, each with one answer", "[engine]") {
  EngineCluster cluster(13, 3);
  cluster.make_key("k", 2);
  cluster.node(1).cut = true;
  cluster.node(2).cut = true;
  const std::uint64_t id =
      cluster.ask(cluster.node(0), cluster.sign(cluster.sign_request("k", {1})).envelope);
  cluster.run(10 * kMs);
  cluster.node(0).engine->drain(cluster.clock(), cluster.now() + 200 * kMs);
  cluster.poke(cluster.node(0));
  REQUIRE(cluster.settle({id}, 300 * kMs));
  CHECK(code_of(cluster.answer(id)) == ErrorCode::kShuttingDown);
  cluster.run(20 * kSecond);
  CHECK(cluster.work(id).answers.size() == 1);
  CHECK(cluster.node(0).engine->sessions() == 0);
}

TEST_CASE("a drain does not wait for a node that has gone", "[engine]") {
  EngineCluster cluster(14, 3);
  cluster.settings.delivery_attempts = 1000;  // longer than the test
  cluster.make_key("k", 2);
  // n2 says hello, is started, and is gone.
  cluster.node(2).cut = true;
  bool heard = false;
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& /*payload*/) {
    heard = heard || from == "n2";
    return !(heard && to == "n2");
  };
  const auto works = cluster.ask_all(cluster.coordinated_by("n1").envelope);
  REQUIRE(cluster.run(5 * kSecond, [&] { return heard; }));
  cluster.run(100 * kMs);
  cluster.node(2).cut = false;
  REQUIRE(cluster.settle({works[0]}));
  CHECK(cluster.answer(works[0]).ok());
  cluster.node(0).engine->drain(cluster.clock(), cluster.now() + 60 * kSecond);
  cluster.run(5 * kSecond);
  REQUIRE_FALSE(cluster.node(0).engine->idle());  // it may only be late
  cluster.set_present(cluster.node(1), false);
  CHECK(cluster.node(0).engine->idle());
}

TEST_CASE("certificates are renewed in time and sessions go on", "[engine]") {
  EngineCluster cluster(14, 3);
  const ByteVector key = cluster.make_key("k", 2);
  for (std::uint8_t hour = 0; hour < 3; ++hour) {
    cluster.run(3600 * kSecond);
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {hour})).envelope);
    REQUIRE(cluster.settle(works));
    for (const std::uint64_t id : works) {
      CHECK(cluster.answer(id).ok());
    }
  }
  CHECK(cluster.renewals >= 9);
}
