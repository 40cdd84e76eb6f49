// Class C failures (crypto/base/abort.h): a peer that cheats in OT or VOLE is banned durably before
// anybody can see that it was caught, and never gets a second try. Checklist lines ToB-8, ToB-12.
#include <catch2/catch.hpp>

#include "tests/support/eavesdropper.h"
#include "tests/support/ecdsa_cluster.h"
#include "tests/support/request_answers.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// Runs signatures until the cheat has been caught; all honest nodes always get theirs.
void sign_until_caught(EcdsaCluster& cluster, const std::string& victim, const std::string& cheat) {
  for (int i = 0; i < 20 && !cluster.banned(victim, cheat); ++i) {
    REQUIRE(cluster.signs({"n1", "n2"}, i % 2 == 0 ? victim : cheat));
  }
  REQUIRE(cluster.banned(victim, cheat));
}

}  // namespace

TEST_CASE("selective abort: the ban is durable before anything leaves the worker", "[burn]") {
  const auto round = GENERATE(as<std::uint8_t>{}, 1, 2);
  CAPTURE(round);
  EcdsaCluster cluster(round, 3, 2);
  cluster.store_us = 40 * kMs;  // long enough to see what happens in the meantime
  Cheat cheat(cluster, "n3", "n1", round);
  bool burning = false;
  int silent = 0;
  std::function<void()> poll = [&] {
    if (cluster.banned("n1", "n3")) {
      burning = false;
    } else {
      cluster.after(100, poll);
    }
  };
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    CHECK_FALSE((burning && from == "n1"));
    return cheat(from, to, packet);
  };
  cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
    if (node.name != "n1") {
      return;
    }
    if (const auto* burn = std::get_if<ipc::Burn>(&effect)) {
      CHECK(burn->peer == "n3");
      CHECK(burn->failed);
      burning = true;
      ++silent;
      // Until its own store says that the ban is there.
      cluster.after(100, poll);
    } else if (burning) {
      CHECK_FALSE(std::holds_alternative<ipc::Answer>(effect));
      CHECK_FALSE(std::holds_alternative<ipc::Wake>(effect));
    }
  };
  sign_until_caught(cluster, "n1", "n3");
  CHECK(silent == 1);
  CHECK(cheat.spoilt == 1);
  CHECK(cluster.counters(0).burns == 1);
  CHECK(cluster.bans() == 1);
  // The state of both directions is gone from the store, that with n2 is not.
  CHECK_FALSE(cluster.stored_pair("n1", 3));
  CHECK(cluster.stored_pair("n1", 2));
  // A check that failed has no end; the ban closed it.
  CHECK(cluster.node(0).open_checks.empty());
}

TEST_CASE("the peer learns that a check failed, and not which", "[burn]") {
  std::set<std::string> reasons;
  for (const std::uint8_t round : {std::uint8_t{1}, std::uint8_t{2}}) {
    EcdsaCluster cluster(round, 3, 2);
    Cheat cheat(cluster, "n3", "n1", round);
    Eavesdropper ear(cluster, "n1");
    cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
      return cheat(from, to, packet) && ear(from, to, packet);
    };
    sign_until_caught(cluster, "n1", "n3");
    int aborts = 0;
    for (const auto& [to, message] : ear.heard) {
      if (is<AttemptAbort>(message)) {
        const auto abort = decoded<AttemptAbort>(message);
        aborts += abort.culprit == "n3" ? 1 : 0;
        reasons.insert(abort.culprit == "n3" ? abort.reason : "");
      }
    }
    CHECK(aborts >= 1);
  }
  reasons.erase("");
  CHECK(reasons == std::set<std::string>{"a check failed"});
}

TEST_CASE("a banned peer's OT messages are never looked at again, across restarts", "[burn]") {
  EcdsaCluster cluster(3, 3, 2);
  Cheat cheat(cluster, "n3", "n1", 1);
  Eavesdropper ear(cluster, "n1");
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return cheat(from, to, packet) && ear(from, to, packet);
  };
  sign_until_caught(cluster, "n1", "n3");
  cheat.on = false;  // it behaves from now on
  cluster.node(0).on_checking = [](const ipc::Checking& check) { CHECK(check.peer != "n3"); };
  cluster.node(2).on_checking = [](const ipc::Checking& check) { CHECK(check.peer != "n1"); };
  ear.heard.clear();
  for (int life = 0; life < 3; ++life) {
    for (const char* coordinator : {"n1", "n2", "n3"}) {
      // Whoever coordinates: the signing set has no banned pair in it, and nobody waits long.
      const std::int64_t before = cluster.now();
      REQUIRE(cluster.signs({"n1", "n2", "n3"}, coordinator));
      CHECK(cluster.now() - before < 200 * kMs);
    }
    CHECK(cluster.banned("n1", "n3"));
    for (std::size_t i = 0; i < 3; ++i) {
      cluster.kill(cluster.node(i));
    }
  }
  for (const auto& [to, message] : ear.heard) {
    CHECK_FALSE((to == "n3" && is<Round>(message)));
  }
  CHECK(cluster.bans() == 1);
}

TEST_CASE("2-of-2: the session ends as misbehaviour, the next as banned, and names the pair",
          "[burn]") {
  EcdsaCluster cluster(4, 2, 2);
  Cheat cheat(cluster, "n2", "n1", 2);
  cluster.filter = std::ref(cheat);
  const auto works = cluster.ask_all(cluster.request("n1").envelope);
  REQUIRE(cluster.settle(works));
  const Error* first = error_of(cluster.answer(works[0]));
  REQUIRE(first != nullptr);
  CHECK(first->code == ErrorCode::kPeerMisbehaved);
  CHECK(first->peer == "n2");
  CHECK(first->peer_reason == "a check failed");
  for (const char* coordinator : {"n1", "n2"}) {
    const auto next = cluster.ask_all(cluster.request(coordinator).envelope);
    REQUIRE(cluster.settle(next));
    for (const std::size_t node : {0U, 1U}) {
      const Error* error = error_of(cluster.answer(next[node]));
      REQUIRE(error != nullptr);
      INFO(error->message);
      CHECK(error->code == ErrorCode::kBanned);
      CHECK(error->peer == (node == 0 ? "n2" : "n1"));
      CHECK((error->message + error->peer_reason).find("n1") != std::string::npos);
      CHECK((error->message + error->peer_reason).find("n2") != std::string::npos);
    }
  }
}

TEST_CASE("2-of-3 with the third away: banned, and again possible when it is back", "[burn]") {
  EcdsaCluster cluster(5, 3, 2);
  Cheat cheat(cluster, "n3", "n1", 1);
  cluster.filter = std::ref(cheat);
  sign_until_caught(cluster, "n1", "n3");
  cluster.away("n2", true);
  const SignedRequest request = cluster.request();
  const std::uint64_t at_1 = cluster.ask(cluster.node(0), request.envelope);
  const std::uint64_t at_3 = cluster.ask(cluster.node(2), request.envelope);
  REQUIRE(cluster.settle({at_1, at_3}));
  for (const std::uint64_t id : {at_1, at_3}) {
    const Error* error = error_of(cluster.answer(id));
    REQUIRE(error != nullptr);
    CHECK(error->code == ErrorCode::kBanned);
  }
  CHECK(error_of(cluster.answer(at_1))->retryable);
  cluster.away("n2", false);
  CHECK(cluster.signs({"n1", "n2", "n3"}));
}

TEST_CASE("a burn cuts the key's other sessions with the peer, and no others", "[burn]") {
  EcdsaCluster cluster(6, 4, 3);
  Cheat cheat(cluster, "n4", "n1", 1);
  cheat.on = false;
  cluster.filter = std::ref(cheat);
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));
  bool burnt = false;
  cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
    burnt = burnt || (node.name == "n1" && std::holds_alternative<ipc::Burn>(effect));
  };
  cluster.node(0).on_checking = [&](const ipc::Checking& check) {
    CHECK_FALSE((burnt && check.peer == "n4"));
  };
  std::vector<std::uint64_t> works;
  for (int i = 0; i < 12; ++i) {
    const char* const nodes[] = {"n1", "n2", "n3", "n4"};
    for (const std::uint64_t id : cluster.ask_all(cluster.request(nodes[i % 4]).envelope)) {
      works.push_back(id);
    }
  }
  cheat.on = true;
  REQUIRE(cluster.settle(works));
  CHECK(burnt);
  CHECK(cluster.counters(0).burns == 1);
  for (const std::uint64_t id : works) {
    INFO(cluster.work(id).node);
    CHECK((cluster.work(id).node == "n4" || cluster.good(id)));
  }
}

TEST_CASE("a ban that the store does not take keeps the worker silent", "[burn]") {
  EcdsaCluster cluster(7, 3, 2);
  Cheat cheat(cluster, "n3", "n1", 1);
  bool burning = false;
  std::int64_t silent_since = 0;
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    CHECK_FALSE((burning && from == "n1"));
    return cheat(from, to, packet);
  };
  cluster.node(0).store->fail_burn = true;
  cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
    if (node.name == "n1" && std::holds_alternative<ipc::Burn>(effect) && !burning) {
      burning = cluster.node(0).store->fail_burn;
      silent_since = cluster.now();
    }
  };
  for (int i = 0; i < 20 && !burning; ++i) {
    REQUIRE(cluster.signs({"n2"}, i % 2 == 0 ? "n1" : "n3"));
  }
  REQUIRE(burning);
  cluster.run(10 * kSecond);
  CHECK(burning);
  CHECK_FALSE(cluster.node(0).engine->idle());
  cluster.node(0).store->fail_burn = false;
  burning = false;  // the order that is repeated now is taken, and what was held goes out
  cluster.run(5 * kSecond);
  CHECK(cluster.banned("n1", "n3"));
  CHECK(cluster.signs({"n1", "n2"}));
}

TEST_CASE("an equivocating third party cannot make two honest nodes ban each other", "[burn]") {
  // n3 coordinates 3-of-3 and gives n1 and n2 different sets: its own second hello in one of them.
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    CAPTURE(seed);
    EcdsaCluster cluster(10 + seed, 3, 3);
    REQUIRE(cluster.signs({"n1", "n2", "n3"}));
    int told = 0;
    DoubleAgent agent(cluster, "n3", [&](const std::string& to, std::vector<ByteVector>& messages) {
      for (ByteVector& message : messages) {
        if (!is<Start>(message) || to != "n2") {
          continue;
        }
        Start start = decoded<Start>(message);
        SignedHello& hello = start.hellos.back();
        Hello other = decode_fields<Hello>(hello.body).value();
        // Another nonce of the rendezvous, or another commitment of the protocol's.
        (seed == 1 ? other.nonce.data[0] : other.payload.back()) ^= 1U;
        hello.body = encode_fields(other);
        hello.signature =
            ed25519_sign(cluster.node(2).signing_secret, hello_digest("test", "alice", hello.body));
        message = encode_message(start);
        ++told;
      }
    });
    cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
      return agent(from, to, packet);
    };
    for (int i = 0; i < 3; ++i) {
      REQUIRE(cluster.settle(cluster.ask_all(cluster.request("n3").envelope)));
    }
    CHECK(told >= 1);
    CHECK(cluster.bans() == 0);
    CHECK(cluster.counters(0).burns + cluster.counters(1).burns == 0);
    cluster.filter = nullptr;
    CHECK(cluster.signs({"n1", "n2", "n3"}));
  }
}

TEST_CASE("three deaths during checks of one peer ban it, and its state is erased", "[burn]") {
  EcdsaCluster cluster(20, 3, 2);
  cluster.away("n2", true);
  int deaths = 0;
  cluster.node(0).on_checking = [&](const ipc::Checking& check) {
    CHECK(check.peer == "n3");
    ++deaths;
    throw EngineCluster::Died{};
  };
  while (!cluster.banned("n1", "n3")) {
    REQUIRE(deaths < 3);
    const SignedRequest request = cluster.request("n3");
    const std::uint64_t id = cluster.ask(cluster.node(0), request.envelope);
    cluster.ask(cluster.node(2), request.envelope);
    REQUIRE(cluster.settle({id}));
    CHECK(error_of(cluster.answer(id))->code == ErrorCode::kWorkerCrashed);
    cluster.run(20 * kSecond);
  }
  CHECK(deaths == 3);
  cluster.node(0).on_checking = [](const ipc::Checking& check) { CHECK(check.peer != "n3"); };
  cluster.away("n2", false);
  CHECK(cluster.signs({"n1", "n2", "n3"}));
  cluster.run(kSecond);
  CHECK_FALSE(cluster.stored_pair("n1", 3));
  CHECK(cluster.bans() == 1);
}

TEST_CASE("a peer that cheats while presignatures are made is banned, and they go", "[burn]") {
  EcdsaCluster cluster(8, 3, 2);
  cluster.settings.presignature_pool = 4;
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));  // a key in use is kept in stock
  cluster.run(2 * kSecond);
  CHECK(cluster.counters(0).presignatures_made > 0);
  DoubleAgent agent(cluster, "n3", [&](const std::string& to, std::vector<ByteVector>& messages) {
    for (ByteVector& message : messages) {
      if (to == "n1" && is<PresignRound>(message)) {
        message.back() ^= 1U;
      }
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  bool burnt = false;
  cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
    burnt = burnt || (node.name == "n1" && std::holds_alternative<ipc::Burn>(effect));
  };
  cluster.node(0).on_checking = [&](const ipc::Checking& check) {
    CHECK_FALSE((burnt && check.peer == "n3"));
  };
  for (int i = 0; i < 40 && !burnt; ++i) {
    REQUIRE(cluster.signs({"n1", "n2"}));  // uses some up, and more are made
    cluster.run(kSecond);
  }
  REQUIRE(burnt);
  cluster.run(5 * kSecond);
  CHECK(cluster.banned("n1", "n3"));
  for (const char* coordinator : {"n1", "n2", "n3"}) {
    CHECK(cluster.signs({"n1", "n2", "n3"}, coordinator));
  }
  CHECK(cluster.bans() == 1);
}

TEST_CASE("classes A, B and D ban nobody, and cost their session only", "[burn]") {
  // A: a message of another length; B: R_i that does not open its commitment; D: a share of the
  // signature that is false. Round 2: echo(32) R(33) …; round 3: echo(32) w(32) u(32).
  struct Case {
    std::uint8_t round;
    std::size_t byte;
    bool longer;
  };
  const Case one = GENERATE(Case{1, 0, true}, Case{2, 32 + 33 + 1, false}, Case{3, 33, false});
  CAPTURE(static_cast<int>(one.round));
  EcdsaCluster cluster(30 + one.round, 3, 2);
  int altered = 0;
  SessionId spoilt;
  DoubleAgent agent(cluster, "n3", [&](const std::string&, std::vector<ByteVector>& messages) {
    for (ByteVector& message : messages) {
      if (!is<Round>(message) || decoded<Round>(message).round != one.round ||
          decoded<Round>(message).session != spoilt) {
        continue;
      }
      Round round = decoded<Round>(message);
      if (one.longer) {
        round.payload.push_back(0);
      } else {
        round.payload[one.byte] ^= 1U;
      }
      message = encode_message(round);
      ++altered;
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  for (int i = 0; i < 12 && altered == 0; ++i) {
    const std::string coordinator = i % 2 == 0 ? "n1" : "n3";
    const SignedRequest request = cluster.request(coordinator);
    spoilt = request.session;
    auto works = cluster.ask_all(request.envelope);
    // A second request of the same user is under way when the first meets the lie.
    for (const std::uint64_t id : cluster.ask_all(cluster.request(coordinator).envelope)) {
      works.push_back(id);
    }
    REQUIRE(cluster.settle(works));
    for (const std::uint64_t id : works) {
      INFO(cluster.work(id).node << " " << to_hex(cluster.answer(id).session));
      CHECK((cluster.work(id).node == "n3" || cluster.good(id)));
    }
  }
  CHECK(altered >= 1);
  CHECK(cluster.bans() == 0);
  CHECK(cluster.counters(0).burns + cluster.counters(1).burns == 0);
  const std::uint64_t alarms =
      cluster.counters(0).unattributable + cluster.counters(1).unattributable;
  CHECK((alarms > 0) == (one.round == 3));
}

TEST_CASE("a signer whose false shares name nobody is passed over after the first of them",
          "[burn]") {
  // The last round's (w, u) cannot be checked one by one: class D, no ban and nobody to exclude.
  // The saboteur answers as fast as the honest node.
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    EcdsaCluster cluster(seed, 3, 2);
    int spoilt = 0;
    DoubleAgent agent(cluster, "n3", [&](const std::string&, std::vector<ByteVector>& messages) {
      for (ByteVector& message : messages) {
        if (is<Round>(message) && decoded<Round>(message).round == 3) {
          message.back() ^= 1U;
          ++spoilt;
        }
      }
    });
    cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
      return agent(from, to, packet);
    };
    const int before = spoilt;
    REQUIRE(cluster.signs({"n1", "n2"}, "n1"));
    CHECK(spoilt - before <= 3);
    CHECK(cluster.bans() == 0);
    CHECK(cluster.counters(0).misbehaviours + cluster.counters(1).misbehaviours == 0);
  }
}
