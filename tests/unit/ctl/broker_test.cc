// NKeys and JWTs, and what a real nats-server makes of them.

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "supervisor/devcluster/broker_config.h"
#include "supervisor/devcluster/ports.h"
#include "supervisor/devcluster/process.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/ctl/nats_probe.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner {
namespace {

using broker::Nkey;
using broker::NkeyKind;
using devcluster::BrokerIdentity;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// A nats-server in operator mode for the test's lifetime.
class Server {
 public:
  Server(const BrokerIdentity& identity, devcluster::ServerOptions options) {
    SystemRandom random;
    if (options.port == 0) {
      options.port = devcluster::free_port(random).value();
    }
    port = options.port;
    const auto file = directory_.path() / "nats.conf";
    std::ofstream(file) << devcluster::server_configuration(identity, options);
    process_ = devcluster::launch({.arguments = {"nats-server", "-c", file.string()},
                                   .log = directory_.path() / "log",
                                   .environment = {}})
                   .value();
    for (int i = 0; i < 500 && !devcluster::accepts_connections(port); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    REQUIRE(devcluster::accepts_connections(port));
  }
  ~Server() { (void)devcluster::end_all({process_}, std::chrono::seconds(2)); }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port = 0;

 private:
  test::TemporaryDirectory directory_;
  devcluster::ProcessIdentity process_;
};

struct User {
  Nkey key;
  std::string jwt;
};

User make_user(const BrokerIdentity& identity, const Nkey& signer, std::string name,
               std::int64_t expires = 0) {
  SystemRandom random;
  Nkey key = Nkey::generate(NkeyKind::kUser, random);
  std::string jwt = broker::mint_user(signer, {.key = key.public_key(),
                                               .name = std::move(name),
                                               .account = identity.account,
                                               .issued_at_s = now_s(),
                                               .expires_at_s = expires})
                        .value();
  return {std::move(key), std::move(jwt)};
}

/// The published test of github.com/nats-io/nkeys README: a user seed and its public key.
constexpr std::string_view kSeed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
constexpr std::string_view kPublic = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";

}  // namespace

TEST_CASE("an nkey of NATS's documentation is read, and encoded again") {
  const auto key = Nkey::from_seed(NkeyKind::kUser, std::string(kSeed) + "\n");
  REQUIRE(key);
  CHECK(key->public_text() == kPublic);
  CHECK(std::string_view(key->seed_text()) == kSeed);
  CHECK(broker::decode_public(NkeyKind::kUser, kPublic) == key->public_key());
}

TEST_CASE("nkeys of every kind survive a round trip and no other kind") {
  SeededRandom random(1);
  for (const auto& [kind, letter] :
       {std::pair{NkeyKind::kOperator, 'O'}, {NkeyKind::kAccount, 'A'}, {NkeyKind::kUser, 'U'}}) {
    const Nkey key = Nkey::generate(kind, random);
    CHECK(key.public_text().size() == 56);
    CHECK(key.public_text()[0] == letter);
    const auto seed = key.seed_text();
    CHECK(seed.size() == 58);
    CHECK(seed[0] == 'S');
    CHECK(seed[1] == letter);
    for (const NkeyKind other : {NkeyKind::kOperator, NkeyKind::kAccount, NkeyKind::kUser}) {
      CHECK(Nkey::from_seed(other, seed).has_value() == (other == kind));
      CHECK(broker::decode_public(other, key.public_text()).has_value() == (other == kind));
    }
  }
}

TEST_CASE("a damaged nkey is refused at every character, and never repeated in the message") {
  for (std::size_t i = 0; i < kSeed.size(); ++i) {
    std::string seed(kSeed);
    seed[i] = seed[i] == 'A' ? 'B' : 'A';
    const auto key = Nkey::from_seed(NkeyKind::kUser, seed);
    REQUIRE_FALSE(key);
    CHECK(key.error().message.find(seed) == std::string::npos);
    std::string text(kPublic.substr(0, std::min(i, kPublic.size() - 1)));
    CHECK_FALSE(broker::decode_public(NkeyKind::kUser, text));
  }
  CHECK_FALSE(Nkey::from_seed(NkeyKind::kUser, ""));
  CHECK_FALSE(Nkey::from_seed(NkeyKind::kUser, "su" + std::string(kSeed.substr(2))));
  CHECK_FALSE(Nkey::from_seed(NkeyKind::kUser, std::string(kSeed) + "A"));
}

TEST_CASE("a user's name that would widen its scope is not minted") {
  SeededRandom random(2);
  const Nkey signer = Nkey::generate(NkeyKind::kAccount, random);
  for (const char* name : {"", "*", ">", "a.b", "a b", "A", "a*", "{{name()}}"}) {
    CHECK_FALSE(broker::mint_user(
        signer, {.key = signer.public_key(), .name = name, .account = signer.public_text()}));
  }
}

TEST_CASE("nats-server grants each credential its scope and nothing else") {
  SystemRandom random;
  const auto identity =
      devcluster::make_broker_identity("dev", {"node1", "node2"}, now_s(), random);
  const Server server(identity, {.name = "test"});
  const auto& keys = identity.nodes.at("node1");

  SECTION("worker") {
    const User alice = make_user(identity, keys.worker, "aliceaaaa");
    test::NatsProbe probe(server.port);
    REQUIRE(probe.login(alice.jwt, alice.key));
    CHECK(probe.may_subscribe("cosigner.dev.user.aliceaaaa.node1.>"));
    CHECK(probe.may_publish("cosigner.dev.user.aliceaaaa.node2.node1"));
    CHECK_FALSE(probe.may_publish("cosigner.dev.user.aliceaaaa.node1.node2"));  // as another node
    CHECK_FALSE(probe.may_publish("cosigner.dev.user.bobbbbbbb.node2.node1"));  // as another user
    CHECK_FALSE(probe.may_publish("cosigner.dev.request"));
    CHECK_FALSE(probe.may_publish("cosigner.dev.gateway.node2.node1"));
    CHECK_FALSE(probe.may_publish("_INBOX.x"));
    CHECK_FALSE(probe.may_publish("$SYS.REQ.SERVER.PING"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.user.aliceaaaa.node2.>"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.user.bobbbbbbb.node1.>"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.user.*.node1.>"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.>"));
    CHECK_FALSE(probe.may_subscribe("_INBOX.>"));
    CHECK_FALSE(probe.may_subscribe(">"));
  }
  SECTION("gateway") {
    const User gateway = make_user(identity, keys.gateway, "gateway");
    test::NatsProbe probe(server.port);
    REQUIRE(probe.login(gateway.jwt, gateway.key));
    for (const char* subject :
         {"cosigner.dev.request", "cosigner.dev.gateway.node1.>", "cosigner.dev.gateway.all.>",
          "_INBOX.node1.>", "_INBOX.node1.x.*", "$SRV.PING"}) {
      CHECK(probe.may_subscribe(subject));
    }
    for (const char* subject : {"cosigner.dev.request", "cosigner.dev.gateway.node2.node1",
                                "cosigner.dev.gateway.all.node1", "_INBOX.abc.1"}) {
      CHECK(probe.may_publish(subject));
    }
    CHECK_FALSE(probe.may_publish("cosigner.dev.gateway.all.node2"));
    CHECK_FALSE(probe.may_publish("cosigner.dev.user.aliceaaaa.node2.node1"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.gateway.node2.>"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.user.>"));
    CHECK_FALSE(probe.may_subscribe("_INBOX.>"));
  }
  SECTION("client") {
    const std::string text(identity.client_credentials);
    const std::size_t jwt_begin = text.find('\n') + 1;
    const std::string jwt = text.substr(jwt_begin, text.find('\n', jwt_begin) - jwt_begin);
    const auto user = Nkey::from_seed(NkeyKind::kUser, text.substr(text.find("\nSU") + 1, 58));
    REQUIRE(user);
    test::NatsProbe probe(server.port);
    REQUIRE(probe.login(jwt, *user));
    CHECK(probe.may_subscribe("_INBOX." + user->public_text() + ".abc.*"));
    CHECK(probe.may_publish("cosigner.dev.request"));
    CHECK(probe.may_publish("$SRV.PING"));
    CHECK_FALSE(probe.may_subscribe("$SRV.>"));
    CHECK_FALSE(probe.may_publish("_INBOX.abc.1"));
    CHECK_FALSE(probe.may_publish("cosigner.dev.gateway.node2.node1"));
    // What others hear: another client of the same signing key, an operator by way of his node.
    const Nkey other = Nkey::generate(NkeyKind::kUser, random);
    for (const std::string& inbox :
         {std::string("_INBOX.>"), std::string("_INBOX.*.*"), std::string("_INBOX.client.>"),
          "_INBOX." + other.public_text() + ".>", std::string("_INBOX.node1.>")}) {
      CHECK_FALSE(probe.may_subscribe(inbox));
    }
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.request"));
    CHECK_FALSE(probe.may_subscribe("cosigner.dev.>"));
  }
  SECTION("who is not let in") {
    const User alice = make_user(identity, keys.worker, "aliceaaaa");
    const User expired = make_user(identity, keys.worker, "aliceaaaa", now_s() - 10);
    const User foreign =
        make_user(identity, Nkey::generate(NkeyKind::kAccount, random), "aliceaaaa");
    CHECK_FALSE(test::NatsProbe(server.port).login("", alice.key));
    CHECK_FALSE(test::NatsProbe(server.port).login(alice.jwt, expired.key));
    CHECK_FALSE(test::NatsProbe(server.port).login(expired.jwt, expired.key));
    CHECK_FALSE(test::NatsProbe(server.port).login(foreign.jwt, foreign.key));
  }
}

TEST_CASE("workers of two nodes meet through leaf servers and their hub") {
  SystemRandom random;
  const auto identity =
      devcluster::make_broker_identity("dev", {"node1", "node2"}, now_s(), random);
  test::TemporaryDirectory directory;
  for (const auto& [node, credentials] : identity.leaf_credentials) {
    std::ofstream(directory.path() / node) << credentials;
  }
  const std::uint16_t leaf_port = devcluster::free_port(random).value();
  const Server hub(identity, {.name = "hub", .leaf_listen_port = leaf_port});
  const Server leaf1(identity, {.name = "leaf1",
                                .hub_port = leaf_port,
                                .hub_credentials_file = (directory.path() / "node1").string()});
  const Server leaf2(identity, {.name = "leaf2",
                                .hub_port = leaf_port,
                                .hub_credentials_file = (directory.path() / "node2").string()});
  const User worker1 = make_user(identity, identity.nodes.at("node1").worker, "aliceaaaa");
  const User worker2 = make_user(identity, identity.nodes.at("node2").worker, "aliceaaaa");
  test::NatsProbe at1(leaf1.port);
  test::NatsProbe at2(leaf2.port);
  REQUIRE(at1.login(worker1.jwt, worker1.key));
  REQUIRE(at2.login(worker2.jwt, worker2.key));
  REQUIRE(at1.may_subscribe("cosigner.dev.user.aliceaaaa.node1.>"));
  REQUIRE(at2.may_subscribe("cosigner.dev.user.aliceaaaa.node2.>"));

  const auto arrives = [&](test::NatsProbe& from, test::NatsProbe& to, const std::string& subject,
                           int tries) {
    to.messages.clear();
    for (int i = 0; i < tries && to.messages.empty(); ++i) {
      from.send("PUB " + subject + " 2\r\nhi\r\n");
      CHECK(from.round_trip().empty());
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      CHECK(to.round_trip().empty());
    }
    return !to.messages.empty();
  };
  CHECK(arrives(at1, at2, "cosigner.dev.user.aliceaaaa.node2.node1", 250));
  CHECK(arrives(at2, at1, "cosigner.dev.user.aliceaaaa.node1.node2", 250));
}

}  // namespace cosigner
