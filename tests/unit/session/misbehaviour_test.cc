// A worker that lies with its own keys: it costs an attempt, it is named, and the others go on.
#include <catch2/catch.hpp>

#include "tests/support/double_agent.h"
#include "tests/support/impostor.h"
#include "tests/support/request_answers.h"
#include "worker/session/rendezvous.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// Makes `liar` alter its packets from now on. The agent must outlive the cluster's runs.
std::shared_ptr<DoubleAgent> turn(EngineCluster& cluster, const std::string& liar,
                                  DoubleAgent::Alter alter) {
  auto agent = std::make_shared<DoubleAgent>(cluster, liar, std::move(alter));
  cluster.filter = [agent](const std::string& from, const std::string& to, ByteVector& packet) {
    return (*agent)(from, to, packet);
  };
  return agent;
}

void spoil_rounds(const std::string& /*to*/, std::vector<ByteVector>& messages) {
  for (ByteVector& message : messages) {
    if (is<Round>(message)) {
      message.back() ^= 1U;
    }
  }
}

/// A protocol that throws where a bug would.
class Throwing final : public Protocol {
 public:
  [[nodiscard]] const ByteVector& hello() const override { return hello_; }
  [[nodiscard]] Result<Messages> start(std::span<const SetMember>, const Digest&) override {
    throw std::runtime_error("a bug");
  }
  [[nodiscard]] Result<Messages> receive(ParticipantIndex, std::uint8_t, ByteView) override {
    throw std::runtime_error("a bug");
  }
  [[nodiscard]] std::optional<Outcome> take_outcome() override { return std::nullopt; }
  [[nodiscard]] std::size_t payload_limit() const override { return 64; }

 private:
  ByteVector hello_ = ByteVector(64, 1);
};

/// For one message; every other is signed as ever.
class ThrowingFor final : public ProtocolFactory {
 public:
  [[nodiscard]] Result<std::unique_ptr<Protocol>> sign(SignParameters parameters,
                                                       Random& random) override {
    if (parameters.message == message) {
      return std::make_unique<Throwing>();
    }
    return ProtocolFactory::sign(std::move(parameters), random);
  }
  ByteVector message;
};

/// Requests of the same user that were under way when `failed` failed: all good.
void check_untouched(EngineCluster& cluster, std::uint64_t failed,
                     const std::vector<std::uint64_t>& others) {
  REQUIRE(cluster.settle(others));
  for (const std::uint64_t id : others) {
    INFO(cluster.work(id).node);
    CHECK(cluster.work(id).asked_us < cluster.work(failed).answered_us);
    CHECK(cluster.answer(id).ok());
  }
}

}  // namespace

TEST_CASE("2-of-2: a false share ends the session at once and names its signer", "[misbehaviour]") {
  EngineCluster cluster(1, 2);
  const ByteVector key = cluster.make_key("k", 2);
  bool lying = true;
  turn(cluster, "n2", [&](const std::string& to, std::vector<ByteVector>& messages) {
    if (lying) {
      spoil_rounds(to, messages);
    }
  });
  const auto works = cluster.ask_all(cluster.coordinated_by("n1").envelope);
  REQUIRE(cluster.settle({works[0]}, 20 * kMs));
  const Error* error = error_of(cluster.answer(works[0]));
  REQUIRE(error != nullptr);
  CHECK(error->code == ErrorCode::kPeerMisbehaved);
  CHECK(error->peer == "n2");
  CHECK_FALSE(error->peer_reason.empty());
  REQUIRE(cluster.settle(works));
  // What comes late of that session is dropped and counted; nothing else notices.
  const auto stray = cluster.counters(0).messages_stray;
  cluster.run(10 * kSecond);
  CHECK(cluster.counters(0).messages_stray >= stray);
  lying = false;
  const auto next = cluster.ask_all(cluster.sign(cluster.sign_request("k", {2})).envelope);
  REQUIRE(cluster.settle(next));
  CHECK(cluster.answer(next[0]).ok());
  CHECK(cluster.answer(next[1]).ok());
}

TEST_CASE("2-of-2: a false share ends its own session only, not another that is under way",
          "[misbehaviour]") {
  EngineCluster cluster(8, 2);
  cluster.make_key("k", 2);
  const SignedRequest spoilt = cluster.coordinated_by("n1");
  turn(cluster, "n2", [&](const std::string&, std::vector<ByteVector>& messages) {
    for (ByteVector& message : messages) {
      if (is<Round>(message) && decoded<Round>(message).session == spoilt.session) {
        message.back() ^= 1U;
      }
    }
  });
  const auto works = cluster.ask_all(spoilt.envelope);
  const auto others = cluster.ask_all(cluster.coordinated_by("n1").envelope);
  REQUIRE(cluster.settle(works));
  const Error* error = error_of(cluster.answer(works[0]));
  REQUIRE(error != nullptr);
  CHECK(error->code == ErrorCode::kPeerMisbehaved);
  CHECK(error->peer == "n2");
  check_untouched(cluster, works[0], others);
}

TEST_CASE("2-of-3: a signer that always lies costs an attempt, and soon not even that",
          "[misbehaviour]") {
  EngineCluster cluster(2, 3);
  const ByteVector key = cluster.make_key("k", 2);
  turn(cluster, "n3", spoil_rounds);
  std::int64_t last = 0;
  for (std::uint8_t i = 0; i < 20; ++i) {
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {i})).envelope);
    REQUIRE(cluster.settle(works));
    for (std::size_t node = 0; node < 2; ++node) {
      REQUIRE(cluster.answer(works[node]).ok());
      last = cluster.work(works[node]).answered_us - cluster.work(works[node]).asked_us;
      CHECK(last < kSecond);
    }
  }
  CHECK(cluster.counters(0).misbehaviours + cluster.counters(1).misbehaviours >= 1);
  CHECK(cluster.counters(0).misbehaviours + cluster.counters(1).misbehaviours <= 6);
  CHECK(last < 50 * kMs);
}

TEST_CASE("a participant that lies in a key generation is named by every honest one",
          "[misbehaviour]") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    EngineCluster cluster(seed, 3);
    turn(cluster, "n3", [](const std::string&, std::vector<ByteVector>& messages) {
      for (ByteVector& message : messages) {
        if (is<Round>(message) && decoded<Round>(message).round == 1) {
          message.back() ^= 1U;
        }
      }
    });
    const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
    REQUIRE(cluster.settle({works[0], works[1]}, 100 * kMs));
    for (std::size_t node = 0; node < 2; ++node) {
      const Error* error = error_of(cluster.answer(works[node]));
      REQUIRE(error != nullptr);
      CHECK(error->code == ErrorCode::kPeerMisbehaved);
      CHECK(error->peer == "n3");
    }
  }
}

TEST_CASE("a coordinator with two different starts is caught, and the attempt is over",
          "[misbehaviour]") {
  EngineCluster cluster(3, 3);
  const ByteVector key = cluster.make_key("k", 2);
  turn(cluster, "n3", [](const std::string&, std::vector<ByteVector>& messages) {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      if (is<Start>(messages[i])) {
        Start second = decoded<Start>(messages[i]);
        second.hellos[0].signature.data[0] ^= 1U;
        messages.insert(messages.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                        encode_message(second));
        ++i;
      }
    }
  });
  for (int i = 0; i < 4; ++i) {
    const auto works = cluster.ask_all(cluster.coordinated_by("n3").envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.answer(works[0]).ok());
    CHECK(cluster.answer(works[1]).ok());
  }
  CHECK(cluster.counters(0).equivocations + cluster.counters(1).equivocations >= 1);
  CHECK(cluster.counters(0).misbehaviours + cluster.counters(1).misbehaviours >= 1);
}

TEST_CASE("two hellos signed by one worker for one attempt are evidence against it",
          "[misbehaviour]") {
  EngineCluster cluster(4, 3);
  const ByteVector key = cluster.make_key("k", 2);
  cluster.node(1).cut = true;  // so that n1 waits for n3's hello only, and n3 for n1's
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    if (from == "n3" && packet_kind(packet) == PacketKind::kHello) {
      SignedHello second = decode_hello_packet(packet).value();
      Hello hello = decode_fields<Hello>(second.body).value();
      hello.nonce.data[0] ^= 1U;
      second.body = encode_fields(hello);
      second.signature =
          ed25519_sign(cluster.node(2).signing_secret, hello_digest("test", "alice", second.body));
      cluster.after(
          100, [&cluster, to, second] { cluster.deliver("n3", to, encode_hello_packet(second)); });
    }
    return true;
  };
  const SignedRequest request = cluster.coordinated_by("n1");
  const std::uint64_t id = cluster.ask(cluster.node(0), request.envelope);
  cluster.ask(cluster.node(2), request.envelope);
  cluster.run(5 * kSecond);
  (void)id;
  CHECK(cluster.counters(0).equivocations >= 1);
  CHECK(cluster.counters(0).misbehaviours >= 1);
}

TEST_CASE("lies about attempts, ends and refusals end nobody's session", "[misbehaviour]") {
  EngineCluster cluster(5, 3);
  const ByteVector key = cluster.make_key("k", 2);
  SessionId session;
  turn(cluster, "n3", [&](const std::string&, std::vector<ByteVector>& messages) {
    for (const std::uint16_t attempt : std::initializer_list<std::uint16_t>{1, 5, 11, 4000}) {
      messages.push_back(encode_message(Advance{session, attempt}));
      messages.push_back(encode_message(AttemptAbort{session, attempt, "n1", "a lie"}));
    }
    messages.push_back(encode_message(Decline{session, "peer_misbehaved", "n1", "a lie"}));
    messages.push_back(encode_message(AttemptAbort{session, 0, "n2", "a lie"}));
  });
  for (int i = 0; i < 12; ++i) {
    const SignedRequest request = cluster.sign(cluster.sign_request("k", {9}));
    session = request.session;
    const auto works = cluster.ask_all(request.envelope);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.answer(works[0]).ok());
    CHECK(cluster.answer(works[1]).ok());
  }
}

TEST_CASE("forged acknowledgements, certificates and refusals change no commit", "[misbehaviour]") {
  EngineCluster cluster(6, 3);
  const SignedRequest request = cluster.sign(cluster.keygen_request("k", 2));
  turn(cluster, "n3", [&](const std::string&, std::vector<ByteVector>& messages) {
    for (std::size_t i = 0, count = messages.size(); i < count; ++i) {
      if (!is<Acknowledge>(messages[i])) {
        continue;
      }
      const auto true_one = decoded<Acknowledge>(messages[i]);
      Acknowledge forged = true_one;
      forged.digest.data[0] ^= 1U;
      forged.wanted = 1;
      messages.push_back(encode_message(forged));
      messages.push_back(encode_message(CommitCertificate{true_one.session, "k", true_one.epoch,
                                                          true_one.digest, ByteVector(100, 1)}));
      Statement refusal{.kind = StatementKind::kKeyRefusal,
                        .cluster = "test",
                        .node = "n2",
                        .user = "alice",
                        .generation = 1,
                        .key = "k",
                        .epoch = 1,
                        .session = true_one.session,
                        .digest = true_one.digest,
                        .signature = {}};
      sign_statement(refusal, cluster.node(2).identity);  // in n2's name, with n3's key
      messages.push_back(encode_message(Refusal{"k", encode_statement(refusal)}));
    }
  });
  const auto works = cluster.ask_all(request.envelope);
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(cluster.answer(id).ok());
  }
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(cluster.node(i).store->refused.empty());
    CHECK(cluster.node(i).store->active.contains("k"));
  }
  CHECK(cluster.counters(0).messages_refused >= 1);
}

TEST_CASE("refusals on demand are bounded: a compromised node does not fill the store",
          "[misbehaviour]") {
  EngineCluster cluster(8, 3);
  cluster.make_key("k", 2);
  Impostor liar(cluster, "n3", "n1");
  const auto invented = [&](std::uint32_t number) {
    Statement statement{.kind = StatementKind::kKeyAcknowledgement,
                        .cluster = "test",
                        .node = "n3",
                        .user = "alice",
                        .generation = cluster.node(2).generation,
                        .key = "x" + std::to_string(number),
                        .epoch = 1,
                        .session = cluster.random().bytes<SessionId>(),
                        .digest = cluster.random().bytes<Digest>(),
                        .signature = {}};
    sign_statement(statement, cluster.node(2).identity);
    return encode_message(Acknowledge{.session = statement.session,
                                      .attempt = 0,
                                      .key = statement.key,
                                      .epoch = 1,
                                      .digest = statement.digest,
                                      .generation = statement.generation,
                                      .signature = statement.signature,
                                      .wanted = 1});
  };
  const std::size_t before = cluster.node(0).store->refused.size();
  for (std::uint32_t i = 0; i < 200; ++i) {
    liar.say({invented(i)});
    cluster.run(5 * kMs);
  }
  const std::size_t stored = cluster.node(0).store->refused.size() - before;
  CHECK(stored == 16);
  // One more for each ten seconds, so that an honest node gets its own in time.
  cluster.run(25 * kSecond);
  for (std::uint32_t i = 200; i < 210; ++i) {
    liar.say({invented(i)});
    cluster.run(5 * kMs);
  }
  CHECK(cluster.node(0).store->refused.size() - before == 18);
}

TEST_CASE("an exception costs its session only", "[misbehaviour]") {
  EngineCluster cluster(7, 2);
  auto owned = std::make_unique<ThrowingFor>();
  owned->message = {0xe7};
  const ByteVector message = owned->message;
  cluster.node(0).protocols = std::move(owned);
  cluster.make_key("k", 2);
  const auto request = [&] { return cluster.sign_request("k", message); };
  const auto works = cluster.ask_all(cluster.coordinated_by("n1", request).envelope);
  const auto others = cluster.ask_all(cluster.coordinated_by("n1").envelope);
  REQUIRE(cluster.settle(works));
  check_untouched(cluster, works[0], others);
  const Error* error = error_of(cluster.answer(works[0]));
  REQUIRE(error != nullptr);
  CHECK(error->code == ErrorCode::kHandlerFailed);
  CHECK(cluster.counters(0).exceptions == 1);
  const auto next = cluster.ask_all(cluster.sign(cluster.sign_request("k", {2})).envelope);
  REQUIRE(cluster.settle(next));
  CHECK(cluster.answer(next[0]).ok());
}
