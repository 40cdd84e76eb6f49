// A protocol whose step was left by an exception is dead: no later message is looked at, and nobody
// is blamed for what the exception left half done.
#include <catch2/catch.hpp>

#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {

/// Throws when check number `at` begins.
struct ThrowingObserver final : CheckObserver {
  explicit ThrowingObserver(int when) : at(when) {}
  void checking(ParticipantIndex) override {
    if (++begun == at) {
      throw std::runtime_error("cannot be announced");
    }
  }
  void checked(ParticipantIndex) override {}
  int at;
  int begun = 0;
};

}  // namespace

TEST_CASE("an exception between two OT checks kills the signing, and its peers are not blamed") {
  // Checks 1 and 2 are of round 1, 3 and 4 of round 2.
  for (const int at : {1, 2, 3, 4}) {
    CAPTURE(at);
    const Key& key = shared_key(3, 3);
    SeededRandom random(5);
    const Signers signers{1, 2, 3};
    ThrowingObserver observer(at);
    std::map<ParticipantIndex, std::unique_ptr<Protocol>> protocols;
    std::vector<SetMember> set;
    for (const ParticipantIndex i : signers) {
      protocols[i] =
          cosigner::make_sign(sign_parameters(key, i, 1, digest_of("a message")), random).value();
      set.push_back({i, protocols[i]->hello()});
    }
    protocols[1]->observe_checks(&observer);
    std::deque<std::tuple<ParticipantIndex, ParticipantIndex, ProtocolMessage>> queue;
    const auto post = [&](ParticipantIndex from, const Messages& messages) {
      for (const ProtocolMessage& message : messages) {
        for (const ParticipantIndex to : signers) {
          if (to != from && (message.to == 0 || message.to == to)) {
            queue.emplace_back(from, to, message);
          }
        }
      }
    };
    for (const ParticipantIndex i : signers) {
      post(i, protocols[i]->start(set, digest_of("binding")).value());
    }
    int thrown = 0;
    while (!queue.empty()) {
      const auto [from, to, message] = std::move(queue.front());
      queue.pop_front();
      try {
        const auto answer = protocols[to]->receive(from, message.round, message.payload);
        if (to != 1) {
          REQUIRE(answer);
          post(to, *answer);
        } else if (thrown > 0) {
          REQUIRE_FALSE(answer);
          CHECK(answer.error().abort_class == AbortClass::kRecoverable);
          CHECK(answer.error().culprits.empty());
        } else {
          post(to, answer.value());
        }
      } catch (const std::runtime_error&) {
        CHECK(to == 1);
        ++thrown;
      }
    }
    CHECK(thrown == 1);
    CHECK(observer.begun == at);
    // Also what has not come yet meets a dead object.
    const auto late = protocols[1]->receive(2, 2, ByteVector(10));
    REQUIRE_FALSE(late);
    CHECK(late.error().culprits.empty());
    CHECK_FALSE(protocols[1]->take_outcome());
  }
}

TEST_CASE("an exception in the check of a renewal kills it") {
  const Key& key = shared_key(2, 2);
  SeededRandom random(6);
  ThrowingObserver observer(1);
  ProtocolRunner runner;
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    const auto peer = static_cast<ParticipantIndex>(3 - i);
    runner.add(i, make_renewal({.record = key.at(i).record,
                                .secret = as_view(key.at(i).secret),
                                .context = digest_of("a renewal"),
                                .self = i,
                                .peer = peer},
                               random)
                      .value());
  }
  runner.protocol(1).observe_checks(&observer);
  CHECK_THROWS_AS(runner.run(), std::runtime_error);
  for (const std::uint8_t round : {std::uint8_t{2}, std::uint8_t{3}}) {
    const auto late = runner.protocol(1).receive(2, round, ByteVector(32));
    REQUIRE_FALSE(late);
    CHECK(late.error().abort_class == AbortClass::kRecoverable);
    CHECK(late.error().culprits.empty());
  }
  CHECK_FALSE(runner.protocol(1).take_outcome());
}
