// Every field of the messages that steer a session and settle a commit, altered by the worker that
// sends them: attempt numbers, withdrawals, declines, commit certificates, refusals.
#include <catch2/catch.hpp>

#include "crypto/identity/statement.h"
#include "tests/support/field_alterer.h"
#include "worker/session/rendezvous.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

const SessionId kAnotherSession{{0x5e, 0x55}};

constexpr std::uint64_t seed_of(int field, int way) {
  return static_cast<std::uint64_t>(field * 10 + way + 1);
}

void check_no_exception(EngineCluster& cluster) {
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.counters(i).exceptions == 0);
  }
}

/// n3 coordinates a 2-of-3 signature and puts one such message, one field of it altered, into every
/// packet. Whatever it says, n1 and n2 get their signature, and nobody honest is blamed. `another`
/// is what n1 said in another session.
template <class T, class Make>
void steer_with_altered(Make make, const T& another) {
  for (int way = 0; way < FieldAlterer::kWays; ++way) {
    for (int field = 0, fields = 1; field < fields; ++field) {
      CAPTURE(static_cast<int>(T::kKind), field, way);
      EngineCluster cluster(seed_of(field, way), 3);
      const ByteVector key = cluster.make_key("k", 2);
      const ByteVector message{4, 2};
      const SignedRequest request =
          cluster.coordinated_by("n3", [&] { return cluster.sign_request("k", message); });
      bool sent = false;
      DoubleAgent agent(cluster, "n3", [&](const std::string&, std::vector<ByteVector>& messages) {
        T lie = make(request.session);
        FieldAlterer alterer(field, way);
        alterer.take_from(another);
        T::fields(lie, alterer);
        fields = alterer.fields();
        messages.push_back(encode_message(lie));
        sent = true;
      });
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
        return agent(from, to, packet);
      };
      const auto works = cluster.ask_all(request.envelope);
      REQUIRE(cluster.settle(works));
      REQUIRE(sent);
      for (std::size_t i = 0; i < 2; ++i) {
        const auto& answer = cluster.answer(works[i]);
        REQUIRE(answer.ok());
        const auto& signature = std::get<SignResult>(answer.content).signature;
        CHECK(verify_signature_vartime(Scheme::kEd25519, key, message, signature));
        CHECK(cluster.counters(i).misbehaviours == 0);
      }
      check_no_exception(cluster);
    }
  }
}

/// Until nothing of key "k" is pending anywhere.
bool settled(EngineCluster& cluster) {
  return cluster.run(180 * kSecond, [&] {
    for (std::size_t i = 0; i < cluster.size(); ++i) {
      if (!cluster.node(i).store->pending.empty()) {
        return false;
      }
    }
    return true;
  });
}

/// Takes the messages of kind T out of a packet.
template <class T>
void drop(std::vector<ByteVector>& messages) {
  std::erase_if(messages, [](const ByteVector& message) { return is<T>(message); });
}

}  // namespace

TEST_CASE("every field of an advance, altered by its sender", "[tamper]") {
  steer_with_altered([](const SessionId& session) { return Advance{session, 1}; },
                     Advance{kAnotherSession, 3});
}
TEST_CASE("every field of an abort, altered by its sender", "[tamper]") {
  steer_with_altered(
      [](const SessionId& session) { return AttemptAbort{session, 0, "n1", "a check failed"}; },
      AttemptAbort{kAnotherSession, 1, "n2", "its coordinator is absent"});
}
TEST_CASE("every field of a decline, altered by its sender", "[tamper]") {
  steer_with_altered(
      [](const SessionId& session) {
        return Decline{session, "peer_misbehaved", "n1", "will not"};
      },
      Decline{kAnotherSession, "banned", "n2", "may not sign together"});
}

TEST_CASE("every field of a commit certificate, altered by its sender", "[tamper]") {
  // n1 never gets n2's and n3's acknowledgements, so it asks for them; whoever has the certificate
  // answers with that. n3's first is altered, n2's are dropped: n1 must ask n3 again.
  for (int way = 0; way < FieldAlterer::kWays; ++way) {
    for (int field = 0, fields = 1; field < fields; ++field) {
      CAPTURE(field, way);
      EngineCluster cluster(seed_of(field, way), 3);
      OneField<CommitCertificate> lie{field, way};
      if (way == FieldAlterer::kAnothers) {
        // All certificates of one key are the same, whoever sends them: n2's of another key. Only
        // key, digest and certificate count, so that another session alone changes nothing.
        cluster.make_key("w", 2);
        const ipc::StoredKey& stored = cluster.node(1).store->active.at("w");
        lie.another = CommitCertificate{stored.session, stored.key, stored.epoch,
                                        acknowledgement_digest(stored.record), stored.certificate};
      }
      DoubleAgent mute(cluster, "n2", [&](const std::string& to, auto& messages) {
        if (to == "n1") {
          drop<Acknowledge>(messages);
          drop<CommitCertificate>(messages);
        }
      });
      DoubleAgent liar(cluster, "n3", [&](const std::string& to, auto& messages) {
        if (to == "n1") {
          drop<Acknowledge>(messages);
          lie(to, messages);
        }
      });
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
        return mute(from, to, packet) && liar(from, to, packet);
      };
      const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
      REQUIRE(cluster.settle(works));
      REQUIRE(settled(cluster));
      REQUIRE(lie.done);
      for (std::size_t i = 0; i < 3; ++i) {
        REQUIRE(cluster.node(i).store->active.contains("k"));
        CHECK(cluster.node(i).store->active.at("k").record ==
              cluster.node(0).store->active.at("k").record);
      }
      check_no_exception(cluster);
      CommitCertificate shape;
      FieldAlterer counter(-1, 0);
      CommitCertificate::fields(shape, counter);
      fields = counter.fields();
    }
  }
}

TEST_CASE("every field of a refusal, altered by its sender", "[tamper]") {
  // n3's share is never stored (its disk is full), so nobody can complete; its refusal ends the
  // promise of the others. The first refusal to n1 is altered: n1 keeps its promise and asks again.
  for (int way = 0; way < FieldAlterer::kWays; ++way) {
    for (int field = 0, fields = 1; field < fields; ++field) {
      CAPTURE(field, way);
      EngineCluster cluster(seed_of(field, way), 3);
      OneField<Refusal> lie{field, way};
      bool lying = false;
      DoubleAgent mute(cluster, "n2", [&](const std::string& to, auto& messages) {
        if (!lying) {
          if (const auto said = std::ranges::find_if(messages, is<Refusal>);
              said != messages.end()) {
            lie.another = decoded<Refusal>(*said);
          }
        } else if (to == "n1") {
          drop<Refusal>(messages);
        }
      });
      DoubleAgent liar(cluster, "n3", [&](const std::string& to, auto& messages) {
        if (lying && to == "n1") {
          lie(to, messages);
        }
      });
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
        return mute(from, to, packet) && liar(from, to, packet);
      };
      if (way == FieldAlterer::kAnothers) {
        // n2 hands on n3's refusal of this key, the same bytes: its own of another key.
        cluster.node(1).store->fail_pending = true;
        const auto failed = cluster.ask_all(cluster.sign(cluster.keygen_request("w", 2)).envelope);
        REQUIRE(cluster.settle(failed));
        REQUIRE(settled(cluster));
        REQUIRE(lie.another);
        cluster.node(1).store->fail_pending = false;
      }
      cluster.node(2).store->fail_pending = true;
      lying = true;
      const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
      REQUIRE(cluster.settle(works));
      REQUIRE(settled(cluster));
      REQUIRE(lie.done);
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK_FALSE(cluster.answer(works[i]).ok());
        CHECK(cluster.node(i).store->active.empty());
      }
      CHECK(cluster.counters(0).messages_refused + cluster.counters(0).messages_malformed +
                cluster.counters(0).messages_late >=
            (lie.changed ? 1U : 0U));
      check_no_exception(cluster);
      Refusal shape;
      FieldAlterer counter(-1, 0);
      Refusal::fields(shape, counter);
      fields = counter.fields();
    }
  }
}
