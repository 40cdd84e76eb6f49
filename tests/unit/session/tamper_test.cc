// Every field of every message between workers, altered by whoever could: the network in between,
// or the sending worker itself. No altered field ends in a wrong signature or key, a crash or a
// hang; what can be blamed on someone is.
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "tests/support/field_alterer.h"
#include "tests/support/full.h"
#include "worker/session/rendezvous.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// What must be true whatever a single worker does: honest answers only, and an end.
void check_honest(EngineCluster& cluster, const std::vector<std::uint64_t>& works,
                  const ByteVector& message, const ByteVector& key) {
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(cluster.work(id).answers.size() == 1);
    if (const auto* sign = std::get_if<SignResult>(&cluster.answer(id).content)) {
      CHECK(sign->public_key == key);
      CHECK(verify_signature_vartime(sign->scheme, key, message, sign->signature));
    }
  }
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    if (cluster.node(i).engine != nullptr) {
      CHECK(cluster.counters(i).exceptions == 0);
    }
  }
}

/// A session id of which `node` is the first (or not the first) coordinator.
SignedRequest coordinated_by(EngineCluster& cluster, const std::string& node, bool first,
                             const ByteVector& message) {
  while (true) {
    SignedRequest request = cluster.sign(cluster.sign_request("k", message));
    if ((cluster.order_of(request.session).of(0) == node) == first) {
      return request;
    }
  }
}

/// One lying field in a signature of 2-of-3: the two honest nodes always get their signature.
template <class T>
void sign_with_altered(bool as_coordinator) {
  for (int way = 0; way < FieldAlterer::kWays; ++way) {
    for (int field = 0;; ++field) {
      CAPTURE(static_cast<int>(T::kKind), field, way, as_coordinator);
      EngineCluster cluster(static_cast<std::uint64_t>(field * 10 + way + 1), 3);
      const ByteVector key = cluster.make_key("k", 2);
      Overheard others(cluster, "n3");
      OneField<T> lie{field, way, &others};
      bool lying = false;
      DoubleAgent agent(cluster, "n3", [&](const std::string& to, auto& m) {
        if (lying) {
          lie(to, m);
        }
      });
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
        return agent(from, to, packet) && others(from, to, packet);
      };
      if (way == FieldAlterer::kAnothers) {
        // Another node says one in a session before: as its coordinator, or as n3's fellow signer.
        const auto before = coordinated_by(cluster, as_coordinator ? "n1" : "n3", true, {7});
        REQUIRE(cluster.settle(cluster.ask_all(before.envelope)));
        cluster.run(kSecond);
        REQUIRE(others.last<T>());
      }
      lying = true;
      const ByteVector message{1, 2, 3};
      // Who signs with the coordinator is a race, so several sessions; one of them meets the lie.
      for (int i = 0; i < 12 && !lie.done; ++i) {
        const auto request = coordinated_by(cluster, "n3", as_coordinator, message);
        const auto works = cluster.ask_all(request.envelope);
        check_honest(cluster, works, message, key);
        CHECK(cluster.answer(works[0]).ok());
        CHECK(cluster.answer(works[1]).ok());
      }
      REQUIRE(lie.done);
      if (lie.beyond) {
        CHECK(field > 2);
        break;
      }
    }
  }
}

template <class T>
void keygen_with_altered() {
  for (int way = 0; way < FieldAlterer::kWays; ++way) {
    for (int field = 0;; ++field) {
      CAPTURE(static_cast<int>(T::kKind), field, way);
      EngineCluster cluster(static_cast<std::uint64_t>(field * 10 + way + 1), 3);
      Overheard others(cluster, "n3");
      OneField<T> lie{field, way, &others};
      bool lying = false;
      DoubleAgent agent(cluster, "n3", [&](const std::string& to, auto& m) {
        if (lying) {
          lie(to, m);
        }
      });
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
        return agent(from, to, packet) && others(from, to, packet);
      };
      if (way == FieldAlterer::kAnothers) {
        // Another node has said one when it made another key.
        const auto before =
            cluster.coordinated_by("n1", [&] { return cluster.keygen_request("w", 2); });
        REQUIRE(cluster.settle(cluster.ask_all(before.envelope)));
        cluster.run(kSecond);
        REQUIRE(others.last<T>());
      }
      lying = true;
      // As coordinator for a Start.
      SignedRequest request = cluster.sign(cluster.keygen_request("k", 2));
      std::vector<Participant> participants{{1, "n1"}, {2, "n2"}, {3, "n3"}};
      while (CoordinatorOrder(request.session, participants).of(0) != "n3") {
        request = cluster.sign(cluster.keygen_request("k", 2));
      }
      const auto works = cluster.ask_all(request.envelope);
      REQUIRE(cluster.settle(works));
      cluster.run(5 * kSecond);
      std::optional<ByteVector> record;
      for (const std::uint64_t id : works) {
        CHECK(cluster.work(id).answers.size() == 1);
        if (const auto* made = std::get_if<KeygenResult>(&cluster.answer(id).content)) {
          CHECK((!record || *record == made->record));
          record = made->record;
        } else {
          // An honest node never blames another honest node.
          const Error& error = std::get<Error>(cluster.answer(id).content);
          const bool honest = cluster.work(id).node != "n3";
          INFO(cluster.work(id).node << ": " << error.message << " / " << error.peer_reason);
          CHECK((!honest || error.code != ErrorCode::kPeerMisbehaved || error.peer == "n3"));
        }
      }
      REQUIRE(lie.done);
      if (lie.beyond) {
        CHECK(field > 2);
        CHECK(record.has_value());
        break;
      }
    }
  }
}

}  // namespace

TEST_CASE("every field of a start, altered by its coordinator", "[tamper]") {
  sign_with_altered<Start>(true);
}
TEST_CASE("every field of a result, altered by its coordinator", "[tamper]") {
  sign_with_altered<SignatureResult>(true);
}
TEST_CASE("every field of a share, altered by its signer", "[tamper]") {
  sign_with_altered<Round>(false);
}
TEST_CASE("every field of a key generation's messages, altered by their sender", "[tamper]") {
  keygen_with_altered<Start>();
  keygen_with_altered<Round>();
  keygen_with_altered<Acknowledge>();
}

TEST_CASE("every field of a hello, altered on its way", "[tamper]") {
  // Hellos go in clear: the network may alter them, so nobody is blamed and nothing comes of it.
  int fields = 0;
  std::set<int> of_another;  // the fields in which two nodes differ
  for (int field = 0; field <= fields; ++field) {
    for (int way = 0; way < FieldAlterer::kWays; ++way) {
      CAPTURE(field, way);
      EngineCluster cluster(21, 3);
      const ByteVector key = cluster.make_key("k", 2);
      int altered = 0;
      std::map<std::string, SignedHello> said;
      cluster.filter = [&](const std::string& from, const std::string&, ByteVector& packet) {
        if (packet_kind(packet) != PacketKind::kHello || altered >= 4) {
          return true;
        }
        SignedHello hello = decode_hello_packet(packet).value();
        Hello inner = decode_fields<Hello>(hello.body).value();
        said.insert_or_assign(from, hello);
        const auto other =
            std::ranges::find_if(said, [&](const auto& one) { return one.first != from; });
        if (way == FieldAlterer::kAnothers && other == said.end()) {
          return true;  // the first to speak
        }
        FieldAlterer alterer(field, way);
        if (other != said.end()) {
          alterer.take_from(other->second);
        }
        SignedHello::fields(hello, alterer);
        if (!alterer.altered()) {
          FieldAlterer deeper(field - alterer.fields(), way);
          if (other != said.end()) {
            deeper.take_from(decode_fields<Hello>(other->second.body).value());
          }
          Hello::fields(inner, deeper);
          if (way == FieldAlterer::kAnothers && deeper.altered()) {
            of_another.insert(field);
          }
          hello.body = encode_fields(inner);
          fields = std::max(fields, alterer.fields() + deeper.fields() - 1);
        } else {
          fields = std::max(fields, alterer.fields());
          if (way == FieldAlterer::kAnothers) {
            of_another.insert(field);
          }
        }
        packet = encode_hello_packet(hello);
        ++altered;
        return true;
      };
      const ByteVector message{5};
      const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", message)).envelope);
      check_honest(cluster, works, message, key);
      for (const std::uint64_t id : works) {
        CHECK(cluster.answer(id).ok());
      }
      for (std::size_t i = 0; i < 3; ++i) {
        CHECK(cluster.counters(i).misbehaviours == 0);
      }
    }
  }
  CHECK(fields > 10);
  CHECK(of_another.size() > 3);  // certificate, body, signature, node, nonce and payload at least
}

TEST_CASE("every byte of every packet altered on its way is dropped or harmless", "[tamper]") {
  const int runs = rounds(40, 2000);
  for (int run = 0; run < runs; ++run) {
    CAPTURE(run);
    EngineCluster cluster(static_cast<std::uint64_t>(run + 1), 3);
    const ByteVector key = cluster.make_key("k", 2);
    int left = 3;
    cluster.filter = [&](const std::string&, const std::string&, ByteVector& packet) {
      if (left > 0 && cluster.chance() < 0.5) {
        --left;
        packet[cluster.pick(packet.size())] ^= static_cast<std::uint8_t>(1 + cluster.pick(255));
      }
      return true;
    };
    const ByteVector message{6};
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", message)).envelope);
    check_honest(cluster, works, message, key);
    for (const std::uint64_t id : works) {
      CHECK(cluster.answer(id).ok());
    }
  }
}

TEST_CASE("every packet of a session, sent again into it and into the next, changes nothing",
          "[tamper]") {
  EngineCluster cluster(31, 3);
  const ByteVector key = cluster.make_key("k", 2);
  std::vector<std::tuple<std::string, std::string, ByteVector>> recorded;
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    recorded.emplace_back(from, to, packet);
    return true;
  };
  for (std::uint8_t round = 0; round < 5; ++round) {
    const ByteVector message{round};
    const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", message)).envelope);
    const auto again = recorded;
    for (const auto& [from, to, packet] : again) {
      cluster.deliver(from, to, packet);
      for (const char* other : {"n1", "n2", "n3"}) {  // also in another's name, and elsewhere
        cluster.deliver(other, to, packet);
        cluster.deliver(from, other, packet);
      }
    }
    check_honest(cluster, works, message, key);
    for (const std::uint64_t id : works) {
      CHECK(cluster.answer(id).ok());
    }
  }
  std::uint64_t dropped = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const Counters& counters = cluster.counters(i);
    CHECK(counters.misbehaviours == 0);
    dropped += counters.packets_duplicate + counters.packets_unopened + counters.packets_malformed +
               counters.certificates_refused;
  }
  CHECK(dropped > 0);
}
