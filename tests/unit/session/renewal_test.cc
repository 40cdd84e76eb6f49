// Renewal of a pair's OT state on an operator's order: it lifts a ban when both nodes hold the new
// state durably, and a crash anywhere leaves the pair banned or renewed, never half.
#include <catch2/catch.hpp>
#include <climits>

#include "tests/support/ecdsa_cluster.h"
#include "tests/support/field_alterer.h"
#include "tests/support/full.h"
#include "tests/support/impostor.h"
#include "tests/support/request_answers.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// n1 has banned n3: caught at round 1 or 2.
void make_ban(EcdsaCluster& cluster) {
  Cheat cheat(cluster, "n3", "n1", 1);
  cluster.filter = std::ref(cheat);
  for (int i = 0; i < 20 && !cluster.banned("n1", "n3"); ++i) {
    REQUIRE(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n3"));
  }
  cluster.filter = nullptr;
  REQUIRE(cluster.banned("n1", "n3"));
  cluster.run(kSecond);
}

/// The two of the pair sign, the third being away.
bool pair_signs(EcdsaCluster& cluster) {
  cluster.away("n2", true);
  const SignedRequest request = cluster.request();
  const std::vector<std::uint64_t> works{cluster.ask(cluster.node(0), request.envelope),
                                         cluster.ask(cluster.node(2), request.envelope)};
  const bool good =
      cluster.settle(works, 40 * kSecond) && cluster.good(works[0]) && cluster.good(works[1]);
  cluster.away("n2", false);
  return good;
}

}  // namespace

TEST_CASE("an unban renews the pair's OT state on both nodes, and the pair signs again",
          "[renewal]") {
  EcdsaCluster cluster(1, 3, 2);
  const auto before = cluster.stored_pair("n3", 1);
  make_ban(cluster);
  cluster.order_renewal(cluster.node(0), "k", "n3");
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  CHECK(cluster.stored_pair("n3", 1) != before);
  CHECK(cluster.counters(0).renewals == 1);
  CHECK(cluster.counters(2).renewals == 1);
  CHECK(pair_signs(cluster));
  cluster.run(60 * kSecond);
  CHECK(cluster.counters(0).renewals == 1);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(cluster.node(i).engine->idle());
    cluster.kill(cluster.node(i));
  }
  CHECK(pair_signs(cluster));
  CHECK(cluster.bans() == 0);
}

TEST_CASE("a lift that the store did not take is ordered again", "[renewal]") {
  EcdsaCluster cluster(2, 3, 2);
  make_ban(cluster);
  cluster.node(0).store->fail_lifts = 2;
  cluster.order_renewal(cluster.node(0), "k", "n3");
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.node(0).store->fail_lifts == 0; }));
  CHECK(cluster.banned("n1", "n3"));
  REQUIRE(cluster.run(3 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  CHECK(cluster.counters(0).renewals == 1);
  CHECK(pair_signs(cluster));
}

TEST_CASE("a peer that asks for renewals without end gets ever fewer of them", "[renewal]") {
  EcdsaCluster cluster(3, 3, 2);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  Impostor asker(cluster, "n3", "n1");
  const KeyRecord record = decode_key_record(cluster.node(0).store->active.at("k").record).value();
  PairNotice notice;
  notice.key = "k";
  notice.epoch = record.epoch;
  notice.record = acknowledgement_digest(cluster.node(0).store->active.at("k").record);
  notice.wish = static_cast<std::uint8_t>(PairNotice::Wish::kRenew);
  const std::uint64_t before = cluster.counters(0).sessions_started;
  for (int i = 0; i < 600; ++i) {
    asker.say({encode_message(notice)});
    cluster.run(100 * kMs);
  }
  // After 0, 1, 3, 7, 15 and 31 seconds of the minute.
  const std::uint64_t begun = cluster.counters(0).sessions_started - before;
  CHECK(begun >= 2);
  CHECK(begun <= 7);
  // An order of this node's own operator does not wait for any of that.
  cluster.run(kSecond);
  const auto old = cluster.stored_pair("n1", 3);
  cluster.order_renewal(cluster.node(0), "k", "n3");
  CHECK(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  CHECK(cluster.stored_pair("n1", 3) != old);
}

TEST_CASE("a renewal without a ban, and signatures go on while it runs", "[renewal]") {
  EcdsaCluster cluster(2, 3, 2);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  const auto before = cluster.stored_pair("n1", 3);
  cluster.order_renewal(cluster.node(0), "k", "n3");
  std::vector<std::uint64_t> works;
  for (int i = 0; i < 8; ++i) {
    for (const std::uint64_t id : cluster.ask_all(cluster.request().envelope)) {
      works.push_back(id);
    }
    cluster.run(kMs);
  }
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(cluster.good(id));
  }
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  CHECK(cluster.stored_pair("n1", 3) != before);
  CHECK(cluster.bans() == 0);
  CHECK(pair_signs(cluster));
}

TEST_CASE("a ban of the peer's own needs its own operator", "[renewal]") {
  EcdsaCluster cluster(3, 3, 2);
  make_ban(cluster);
  // n3 has banned n1 as well, for strikes.
  for (int i = 0; i < 3; ++i) {
    cluster.node(2).store->strike({"k", 1, "n1"});
  }
  cluster.kill(cluster.node(2));
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  cluster.order_renewal(cluster.node(0), "k", "n3");
  cluster.run(60 * kSecond);
  CHECK(cluster.banned("n1", "n3"));
  CHECK(cluster.banned("n3", "n1"));
  CHECK(cluster.node(0).engine->counters().renewals == 0);
  const auto said = std::ranges::count_if(cluster.log, [](const std::string& line) {
    return line.starts_with("n1: node n3 has banned this node");
  });
  CHECK(said >= 1);
  cluster.order_renewal(cluster.node(2), "k", "n1");
  REQUIRE(cluster.run(60 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  CHECK(pair_signs(cluster));
}

TEST_CASE("an order outlives workers: the renewal comes when the peer is there", "[renewal]") {
  EcdsaCluster cluster(4, 3, 2);
  make_ban(cluster);
  cluster.away("n3", true);
  cluster.order_renewal(cluster.node(0), "k", "n3");
  cluster.run(120 * kSecond);
  CHECK(cluster.node(0).engine->idle());  // it waits without keeping the worker
  cluster.kill(cluster.node(0));
  cluster.away("n3", false);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));  // wakes every worker
  REQUIRE(cluster.run(60 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
}

TEST_CASE("a crash at any point of a renewal leaves the pair banned or renewed", "[renewal]") {
  // One run counts the steps, that is packets and orders of the two; then one of the two dies at
  // each of them.
  const auto scenario = [](std::uint64_t seed, int fatal_step, std::size_t victim) {
    EcdsaCluster cluster(seed, 3, 2);
    make_ban(cluster);
    int steps = 0;
    const auto step = [&] {
      if (++steps == fatal_step) {
        cluster.after(0, [&cluster, victim] {
          cluster.kill(cluster.node(victim));
          cluster.start_worker(cluster.node(victim));
        });
      }
    };
    cluster.filter = [&](const std::string&, const std::string&, ByteVector&) {
      step();
      return true;
    };
    cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
      if (node.name != "n2" && !std::holds_alternative<ipc::Log>(effect)) {
        step();
      }
      // Lifted means: renewed, at both.
      if (std::holds_alternative<ipc::LiftBan>(effect)) {
        const auto own = cluster.stored_pair("n1", 3);
        CHECK((own && own == cluster.stored_pair("n3", 1)));
      }
    };
    cluster.order_renewal(cluster.node(0), "k", "n3");
    const auto renewed = [&] { return cluster.renewed("n1", 1, "n3", 3); };
    for (int i = 0; i < 40 && !renewed(); ++i) {
      cluster.run(kSecond, renewed);
      if (!cluster.banned("n1", "n3")) {
        const auto own = cluster.stored_pair("n1", 3);
        CHECK((own && own == cluster.stored_pair("n3", 1)));
      }
    }
    REQUIRE(renewed());
    const int taken = std::exchange(steps, INT_MAX / 2);  // nobody dies from here on
    CHECK(pair_signs(cluster));
    CHECK(cluster.bans() == 0);
    return taken;
  };
  const int steps = scenario(1, 0, 0);
  CHECK(steps > 8);
  const int stride = rounds(3, 1);
  for (int fatal = 1; fatal <= std::min(steps, 40); fatal += stride) {
    for (const std::size_t victim : {0U, 2U}) {
      CAPTURE(fatal, victim);
      scenario(static_cast<std::uint64_t>(100 + fatal), fatal, victim);
    }
  }
}

TEST_CASE("a peer that cheats in a renewal stays banned, and the order is used up", "[renewal]") {
  EcdsaCluster cluster(5, 3, 2);
  make_ban(cluster);
  DoubleAgent agent(cluster, "n3", [](const std::string&, std::vector<ByteVector>& messages) {
    for (ByteVector& message : messages) {
      if (is<Round>(message) && decoded<Round>(message).round == 1) {
        message[message.size() - 40] ^= 1U;  // a point of base OT: the answer will not fit
      }
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  cluster.order_renewal(cluster.node(0), "k", "n3");
  cluster.run(60 * kSecond);
  CHECK(cluster.banned("n1", "n3"));
  CHECK(cluster.stored_pair("n1", 3) == std::nullopt);
  cluster.filter = nullptr;
  CHECK(cluster.signs({"n1", "n2", "n3"}));
}

TEST_CASE("a burn during a renewal without a ban wins over it", "[renewal]") {
  EcdsaCluster cluster(6, 3, 2);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  Cheat cheat(cluster, "n3", "n1", 1);
  cluster.filter = std::ref(cheat);
  for (int i = 0; i < 20 && !cluster.banned("n1", "n3"); ++i) {
    cluster.order_renewal(cluster.node(0), "k", "n3");
    REQUIRE(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n3"));
  }
  REQUIRE(cluster.banned("n1", "n3"));
  cluster.filter = nullptr;
  cluster.run(60 * kSecond);
  CHECK(cluster.banned("n1", "n3"));
  CHECK_FALSE(cluster.stored_pair("n1", 3));
  CHECK(cluster.signs({"n1", "n2", "n3"}));
}

TEST_CASE("OT state that does not fit the peer's keeps the two apart and bans nobody",
          "[renewal]") {
  EcdsaCluster cluster(7, 3, 2);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  const ipc::StoredKey old = cluster.node(2).store->active.at("k");
  cluster.order_renewal(cluster.node(0), "k", "n3");
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  cluster.run(kSecond);
  cluster.kill(cluster.node(2));
  cluster.node(2).store->active["k"] = old;  // a backup comes back
  for (int i = 0; i < 6; ++i) {
    REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  }
  cluster.away("n2", true);
  const SignedRequest request = cluster.request("n3");
  const std::uint64_t id = cluster.ask(cluster.node(2), request.envelope);
  cluster.ask(cluster.node(0), request.envelope);
  REQUIRE(cluster.settle({id}));
  REQUIRE(error_of(cluster.answer(id)) != nullptr);
  CHECK(error_of(cluster.answer(id))->code == ErrorCode::kBanned);
  cluster.away("n2", false);
  CHECK(cluster.bans() == 0);
  cluster.order_renewal(cluster.node(2), "k", "n1");
  REQUIRE(cluster.run(10 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  CHECK(pair_signs(cluster));
}

TEST_CASE("every field of a pair notice, altered by its sender, lifts no ban by itself",
          "[renewal][tamper]") {
  // Not the victim's own values: who claims to hold the very state that the victim holds has the
  // ban lifted, rightly, and without that state it cannot sign with it (the pair's ids differ).
  for (int way = 0; way < FieldAlterer::kAnothers; ++way) {
    for (int field = 0, fields = 1; field < fields; ++field) {
      CAPTURE(field, way);
      EcdsaCluster cluster(static_cast<std::uint64_t>(field * 10 + way + 1), 3, 2);
      make_ban(cluster);
      bool lying = true;
      DoubleAgent agent(cluster, "n3", [&](const std::string&, std::vector<ByteVector>& messages) {
        for (ByteVector& message : messages) {
          if (lying && is<PairNotice>(message)) {
            PairNotice notice = decoded<PairNotice>(message);
            FieldAlterer alterer(field, way);
            PairNotice::fields(notice, alterer);
            fields = alterer.fields();
            message = encode_message(notice);
          }
        }
      });
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
        return agent(from, to, packet);
      };
      cluster.watch = [&](EngineCluster::Node&, const Effect& effect) {
        if (std::holds_alternative<ipc::LiftBan>(effect)) {
          const auto own = cluster.stored_pair("n1", 3);
          CHECK((own && own == cluster.stored_pair("n3", 1)));
        }
      };
      cluster.order_renewal(cluster.node(0), "k", "n3");
      cluster.run(5 * kSecond);
      CHECK(cluster.counters(0).exceptions == 0);
      lying = false;
      REQUIRE(cluster.run(120 * kSecond, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
      CHECK(fields == 7);
    }
  }
}

TEST_CASE("bans and pairs in a hello, altered by its sender, cost nobody a signature or a ban",
          "[renewal][tamper]") {
  // Hello's last two fields. The liar signs what it says.
  for (int way = 0; way < FieldAlterer::kWays; ++way) {
    for (const int field : {12, 13, 14, 15}) {
      CAPTURE(field, way);
      EcdsaCluster cluster(static_cast<std::uint64_t>(field * 10 + way), 3, 2);
      int altered = 0;
      std::optional<Hello> another;
      cluster.filter = [&](const std::string& from, const std::string&, ByteVector& packet) {
        if (packet_kind(packet) != PacketKind::kHello) {
          return true;
        }
        SignedHello hello = decode_hello_packet(packet).value();
        Hello inner = decode_fields<Hello>(hello.body).value();
        if (from != "n3") {
          another = std::move(inner);
          return true;
        }
        FieldAlterer alterer(field, way);
        if (another) {
          alterer.take_from(*another);
        }
        Hello::fields(inner, alterer);
        altered += alterer.altered() ? 1 : 0;
        hello.body = encode_fields(inner);
        hello.signature =
            ed25519_sign(cluster.node(2).signing_secret, hello_digest("test", "alice", hello.body));
        packet = encode_hello_packet(hello);
        return true;
      };
      for (int i = 0; i < 4; ++i) {
        REQUIRE(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n2"));
      }
      // Nobody has banned anybody, and so all say the same of that.
      const bool alike = way == FieldAlterer::kAnothers && field == 12;
      CHECK((altered > 0 || field > 14 || alike));
      CHECK(cluster.bans() == 0);
      CHECK(cluster.counters(0).exceptions + cluster.counters(1).exceptions == 0);
    }
  }
}
