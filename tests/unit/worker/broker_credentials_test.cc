// BrokerConnection in operator mode, with credentials minted as the supervisor mints them: the
// nonce is signed, scopes hold, expiry ends the link, renewed credentials go on.

#include <catch2/catch.hpp>
#include <chrono>
#include <map>

#include "broker_client.h"
#include "ipc/names.h"
#include "nats_server.h"
#include "supervisor/broker/jwt.h"
#include "worker/user/subjects.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::broker::Nkey;
using cosigner::broker::NkeyKind;
using cosigner::test::Client;
using cosigner::test::kStalledNs;
using cosigner::test::Loop;
using cosigner::test::NatsServer;
using std::chrono::milliseconds;

namespace {

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct Operator {
  SystemRandom random;
  Nkey self = Nkey::generate(NkeyKind::kOperator, random);
  Nkey account = Nkey::generate(NkeyKind::kAccount, random);
  Nkey system = Nkey::generate(NkeyKind::kAccount, random);
  std::map<std::string, Nkey> scopes;

  Operator() {
    for (const std::string node : {"node1", "node2"}) {
      scopes.emplace(node, Nkey::generate(NkeyKind::kAccount, random));
    }
  }
  std::string configuration() {
    std::vector<broker::ScopedKey> keys;
    for (const auto& [node, key] : scopes) {
      keys.push_back({key.public_text(), broker::worker_scope("test", node)});
    }
    const std::string system_jwt =
        broker::mint_account(self, system.public_text(), "system", {}, now_s());
    return "operator: \"" + broker::mint_operator(self, "test", system.public_text(), now_s()) +
           "\"\nsystem_account: \"" + system.public_text() +
           "\"\nresolver: MEMORY\nresolver_preload: {\n  " + account.public_text() + ": \"" +
           broker::mint_account(self, account.public_text(), "test", keys, now_s()) + "\"\n  " +
           system.public_text() + ": \"" + system_jwt + "\"\n}\n";
  }
  std::string user(const std::string& node, const std::string& name, const Ed25519PublicKey& key,
                   std::int64_t lifetime_s) {
    return broker::mint_user(scopes.at(node), {.key = key,
                                               .name = name,
                                               .account = account.public_text(),
                                               .issued_at_s = now_s(),
                                               .expires_at_s = now_s() + lifetime_s})
        .value();
  }
};

// A worker of alice's on `node`.
struct Worker {
  Worker(Loop& loop, const NatsServer& server, Operator& authority, const std::string& on,
         std::int64_t lifetime_s, const Ed25519SecretKey* wrong_key = nullptr)
      : node(on),
        subjects("test", "alice", on),
        key(Client::key()),
        client(loop, {.url = server.url(), .jwt = jwt(authority, lifetime_s)}, {subjects.packets()},
               wrong_key != nullptr ? wrong_key->duplicate() : key.duplicate(),
               {.no_responders_subject = subjects.missed_packets()}) {}

  std::string jwt(Operator& authority, std::int64_t lifetime_s) {
    return authority.user(node, user_subject_token("test", "alice"), ed25519_public_key(key),
                          lifetime_s);
  }

  std::string node;
  UserSubjects subjects;
  Ed25519SecretKey key;
  Client client;
};

}  // namespace

TEST_CASE("minted credentials connect, and reach their own user's subjects from their own node") {
  Operator authority;
  NatsServer server(authority.configuration());
  Loop loop;
  Worker one(loop, server, authority, "node1", 3600);
  Worker two(loop, server, authority, "node2", 3600);
  REQUIRE(loop.until([&] { return one.client.subscribed == 1 && two.client.subscribed == 1; }));
  REQUIRE(one.client.send(one.subjects.packet_to("node2")));
  REQUIRE(loop.until([&] { return two.client.messages.size() == 1; }));
  CHECK(two.subjects.parse(two.client.messages[0].subject)->node == "node1");
  // A packet to a node without a worker comes back to its sender.
  REQUIRE(
      one.client.send(one.subjects.packet_to("node9"), 3, one.subjects.no_responders("node9", 5)));
  REQUIRE(loop.until([&] { return one.client.no_responders == 1; }));
  CHECK(one.subjects.parse(one.client.messages[0].subject)->missed_packet == 5);
  CHECK(one.client.problems.empty());
  // In another node's name, or another user's: refused by the broker.
  REQUIRE(one.client.send(UserSubjects("test", "alice", "node3").packet_to("node2")));
  REQUIRE(one.client.send(UserSubjects("test", "bob", "node1").packet_to("node2")));
  REQUIRE(loop.until([&] { return one.client.problems.size() == 2; }));
  CHECK(one.client.problems[0].kind == BrokerProblemKind::kNotPermitted);
  CHECK(one.client.problems[1].kind == BrokerProblemKind::kNotPermitted);
  CHECK(two.client.messages.size() == 1);
}

TEST_CASE("credentials of another key are refused, again and again, without harm") {
  Operator authority;
  NatsServer server(authority.configuration());
  Loop loop;
  const Ed25519SecretKey other = Client::key();
  Worker thief(loop, server, authority, "node1", 3600, &other);
  loop.run_for(milliseconds(500));
  CHECK(thief.client.subscribed == 0);
  CHECK(thief.client.problems.size() == 1);
  CHECK(loop.worst_ns < kStalledNs);
}

TEST_CASE("expired credentials end the link, renewed ones bring it back or keep it") {
  Operator authority;
  NatsServer server(authority.configuration());
  Loop loop;
  Worker late(loop, server, authority, "node1", 2);
  // Renewed at once; the seconds are for a machine that stalls.
  Worker early(loop, server, authority, "node2", 4);
  const auto early_over = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  REQUIRE(loop.until([&] { return late.client.subscribed == 1 && early.client.subscribed == 1; }));
  early.client.connection.renew({.url = server.url(), .jwt = early.jwt(authority, 3600)});
  REQUIRE(loop.until([&] { return late.client.disconnected >= 1; }));
  // Expiry counts in whole seconds: in that second the server may still let it in once more.
  const auto over = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  REQUIRE(loop.until([&] {
    return std::chrono::steady_clock::now() > over && !late.client.connection.subscribed();
  }));
  loop.run_for(milliseconds(500));
  CHECK_FALSE(late.client.connection.subscribed());
  late.client.connection.renew({.url = server.url(), .jwt = late.jwt(authority, 3600)});
  REQUIRE(loop.until([&] { return late.client.connection.subscribed(); }));
  REQUIRE(loop.until([&] { return std::chrono::steady_clock::now() > early_over; }));
  CHECK(early.client.disconnected == 0);
  REQUIRE(late.client.send(late.subjects.packet_to("node2")));
  CHECK(loop.until([&] { return early.client.messages.size() == 1; }));
}
