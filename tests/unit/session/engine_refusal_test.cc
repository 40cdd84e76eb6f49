// What the engine refuses: ids used twice, what cannot be done, and more than it may do at once.
#include <catch2/catch.hpp>

#include "tests/support/owned_envelope.h"
#include "tests/unit/session/engine_answers.h"

using namespace cosigner;
using namespace cosigner::test;

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
    Envelope envelope = envelope_of(cluster.sign(request).envelope);
    envelope.signatures[0].signature.data[5] ^= 1U;
    CHECK(refused(encode_envelope(envelope)) == ErrorCode::kUnauthorized);
  }
  SECTION("altered request") {
    Envelope envelope = envelope_of(cluster.sign(request).envelope);
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
