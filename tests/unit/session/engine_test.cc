// The engine in its ordinary life: keys are made, signatures made, results served again, and every
// request answered.
#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"
#include "tests/support/request_answers.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

ErrorCode code_of(const RequestAnswer& answer) {
  const Error* error = error_of(answer);
  return error == nullptr ? ErrorCode::kInternal : error->code;
}

std::uint64_t total(const EngineCluster& cluster, std::uint64_t worker::Counters::* counter) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    sum += cluster.counters(i).*counter;
  }
  return sum;
}

std::int64_t slowest(const EngineCluster& cluster, const std::vector<std::uint64_t>& works) {
  std::int64_t took = 0;
  for (const std::uint64_t id : works) {
    took = std::max(took, cluster.work(id).answered_us - cluster.work(id).asked_us);
  }
  return took;
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

TEST_CASE("the same id with other bytes is replayed, in one life and after restarts", "[engine]") {
  EngineCluster cluster(5, 3);
  cluster.make_key("k", 2);
  Request request = cluster.sign_request("k", {1});
  REQUIRE(cluster.settle(cluster.ask_all(cluster.sign(request).envelope)));
  cluster.run(100 * kMs);
  SECTION("in one life") {}
  SECTION("after restarts") {
    for (std::size_t i = 0; i < 3; ++i) {
      cluster.kill(cluster.node(i));
    }
  }
  SECTION("when the workers have forgotten the first, and the second is newer") {
    const auto tick = [&] {
      for (std::size_t i = 0; i < 3; ++i) {
        cluster.node(i).engine->on_tick(cluster.clock());
      }
    };
    tick();
    cluster.run(31 * kSecond);
    tick();
    request.issued_at_ms = static_cast<std::uint64_t>(cluster.clock().wall_ms);
    request.expires_at_ms = request.issued_at_ms + 60'000;
  }
  request.message = {2};
  const auto works = cluster.ask_all(cluster.sign(request).envelope);
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(code_of(cluster.answer(id)) == ErrorCode::kReplayed);
  }
}

TEST_CASE("a store that cannot be read is not taken for one that knows nothing", "[engine]") {
  EngineCluster cluster(6, 3);
  cluster.make_key("k", 2);
  Request request = cluster.sign_request("k", {1});
  REQUIRE(cluster.settle(cluster.ask_all(cluster.sign(request).envelope)));
  cluster.run(100 * kMs);
  for (std::size_t i = 0; i < 3; ++i) {
    cluster.kill(cluster.node(i));
    cluster.node(i).store->unreadable = true;
  }
  request.message = {2};  // other bytes under the same id
  const auto works = cluster.ask_all(cluster.sign(request).envelope);
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(code_of(cluster.answer(id)) == ErrorCode::kStorageFailed);
  }
}

TEST_CASE("a replay while the first is still running is refused", "[engine]") {
  EngineCluster cluster(6, 3);
  cluster.make_key("k", 2);
  Request request = cluster.sign_request("k", {1});
  const auto first = cluster.ask_all(cluster.sign(request).envelope);
  request.message = {2};
  const auto second = cluster.ask_all(cluster.sign(request).envelope);
  REQUIRE(cluster.settle(first));
  REQUIRE(cluster.settle(second));
  for (std::size_t i = 0; i < 3; ++i) {
    // Each node takes the one it sees first and refuses the other.
    const bool first_taken = code_of(cluster.answer(second[i])) == ErrorCode::kReplayed;
    const bool second_taken = code_of(cluster.answer(first[i])) == ErrorCode::kReplayed;
    CHECK(first_taken != second_taken);
  }
}

TEST_CASE("what cannot be done is refused at once, with its name", "[engine]") {
  EngineCluster cluster(7, 3);
  cluster.make_key("k", 2);
  const auto refused = [&](const ByteVector& envelope) {
    const std::uint64_t id = cluster.ask(cluster.node(0), envelope);
    REQUIRE(cluster.settle({id}, 50 * kMs));
    return code_of(cluster.answer(id));
  };
  Request request = cluster.sign_request("k", {1});
  SECTION("garbage") {
    CHECK(refused({1, 2, 3}) == ErrorCode::kBadRequest);
  }
  SECTION("altered signature") {
    Envelope envelope = decode_envelope(cluster.sign(request).envelope, kMaxEnvelopeBytes).value();
    envelope.signatures[0].signature.data[5] ^= 1U;
    CHECK(refused(encode_envelope(envelope)) == ErrorCode::kUnauthorized);
  }
  SECTION("altered request") {
    Envelope envelope = decode_envelope(cluster.sign(request).envelope, kMaxEnvelopeBytes).value();
    Request other = request;
    other.message = {9};
    envelope.request = encode_request(other);
    CHECK(refused(encode_envelope(envelope)) == ErrorCode::kUnauthorized);
  }
  SECTION("wrong cluster") {
    request.cluster = "other";
    CHECK(refused(cluster.sign(request).envelope) == ErrorCode::kBadRequest);
  }
  SECTION("expired") {
    cluster.run(120 * kSecond);
    CHECK(refused(cluster.sign(request).envelope) == ErrorCode::kExpired);
  }
  SECTION("from the future") {
    request.issued_at_ms += 3'600'000;
    request.expires_at_ms += 3'600'000;
    CHECK(refused(cluster.sign(request).envelope) == ErrorCode::kBadRequest);
  }
  SECTION("unknown key") {
    request.key = "nokey";
    CHECK(refused(cluster.sign(request).envelope) == ErrorCode::kUnknownKey);
  }
  SECTION("no participant") {
    Request keygen = cluster.keygen_request("new", 2);
    keygen.participants = {"n2", "n3"};
    CHECK(refused(cluster.sign(keygen).envelope) == ErrorCode::kBadRequest);
  }
  SECTION("draining") {
    cluster.node(0).engine->drain(cluster.clock(), cluster.now() + kSecond);
    CHECK(refused(cluster.sign(request).envelope) == ErrorCode::kShuttingDown);
  }
  // Valid ones are unharmed.
  if (!cluster.node(0).engine->idle()) {
    cluster.run(kSecond);
  }
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {4})).envelope);
  REQUIRE(cluster.settle(works));
  CHECK(cluster.answer(works[1]).ok());
  CHECK(cluster.answer(works[2]).ok());
}

TEST_CASE("too many sessions at once are refused as overloaded, and all others end well",
          "[engine]") {
  EngineCluster cluster(8, 3);
  cluster.settings.max_sessions = 8;
  cluster.make_key("k", 2);
  std::vector<std::uint64_t> works;
  for (std::uint8_t i = 0; i < 20; ++i) {
    const auto envelope = cluster.sign(cluster.sign_request("k", {i})).envelope;
    works.push_back(cluster.ask(cluster.node(0), envelope));
    works.push_back(cluster.ask(cluster.node(1), envelope));
  }
  REQUIRE(cluster.settle(works));
  std::size_t good = 0;
  for (const std::uint64_t id : works) {
    const RequestAnswer& answer = cluster.answer(id);
    good += answer.ok() ? 1U : 0U;
    CHECK(
        (answer.ok() || code_of(answer) == ErrorCode::kOverloaded || error_of(answer)->retryable));
  }
  CHECK(good >= 8);
}

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
