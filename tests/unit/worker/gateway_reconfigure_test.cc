// The gateway's pure parts when the configuration is read again.

#include <catch2/catch.hpp>

#include "crypto/identity/certificate.h"
#include "tests/support/seeded_random.h"
#include "worker/gateway/presence.h"
#include "worker/gateway/request_gate.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

constexpr std::uint64_t kWallMs = 1'800'000'000'000;

ipc::Initiator desk(const IdentityKey& client) {
  return {.name = "desk",
          .key = client.public_key(),
          .operations = {"sign"},
          .users = {"*"},
          .requests_per_second = 1};
}

Request sign_for(const IdentityKey& client, Random& random) {
  Request out;
  out.cluster = "test";
  out.initiator = client.public_key();
  out.operation = Operation::kSign;
  out.user = "alice";
  out.key = "main";
  out.id = random.bytes<RequestId>();
  out.issued_at_ms = kWallMs;
  out.expires_at_ms = kWallMs + 60'000;
  out.message = {1, 2, 3};
  return out;
}

bool passes(RequestGate& gate, const Request& request, const IdentityKey& client) {
  return std::holds_alternative<RequestGate::Passed>(
      gate.check(1000, kWallMs, "", sign_request(request, client)->envelope));
}

struct Peer {
  IdentityKey identity;
  Ed25519SecretKey key;
  std::string node;

  [[nodiscard]] ByteVector beacon(std::uint64_t count) const {
    Certificate certificate{.cluster = "test",
                            .node = node,
                            .role = CertificateRole::kGateway,
                            .user = "",
                            .generation = 5,
                            .x25519 = {},
                            .ed25519 = ed25519_public_key(key),
                            .not_before = kWallMs / 1000 - 10,
                            .not_after = kWallMs / 1000 + 3590,
                            .signature = {}};
    sign_certificate(certificate, identity);
    return encode_beacon({count, false}, encode_certificate(certificate), key);
  }
};

}  // namespace

TEST_CASE("the gate: peers, initiators, rates and sizes change, what was seen stays seen") {
  SeededRandom random(3);
  const IdentityKey client = IdentityKey::generate(random);
  const IdentityKey other = IdentityKey::generate(random);
  RequestGate gate("test", {"node2"}, {desk(client)}, {});
  const Request first = sign_for(client, random);
  REQUIRE(passes(gate, first, client));
  REQUIRE_FALSE(passes(gate, sign_for(client, random), client));  // one a second

  ipc::Initiator faster = desk(client);
  faster.requests_per_second = 100;
  ipc::Settings settings;
  settings.max_envelope_bytes = 2048;
  const auto forwards = [&](std::string_view node) {
    const Request request = sign_for(client, random);
    return std::holds_alternative<RequestGate::Passed>(
        gate.check(1000, kWallMs, node, sign_request(request, client)->envelope));
  };
  CHECK(forwards("node2"));
  CHECK_FALSE(forwards("node4"));
  gate.reconfigure({"node4"}, {faster}, settings);
  CHECK_FALSE(forwards("node2"));
  CHECK(forwards("node4"));
  CHECK(passes(gate, sign_for(client, random), client));
  CHECK(passes(gate, sign_for(client, random), client));
  Request large = sign_for(client, random);
  large.message = ByteVector(4000, 1);
  CHECK_FALSE(passes(gate, large, client));
  Request replay = first;
  replay.message = {9};
  const auto verdict = gate.check(1000, kWallMs, "", sign_request(replay, client)->envelope);
  REQUIRE(std::holds_alternative<RequestGate::Refused>(verdict));
  CHECK(std::get<Error>(std::get<RequestGate::Refused>(verdict).answer.content).code ==
        ErrorCode::kReplayed);

  gate.reconfigure({}, {desk(other)}, settings);
  CHECK_FALSE(passes(gate, sign_for(client, random), client));
  CHECK(passes(gate, sign_for(other, random), other));
}

TEST_CASE("presence: who stays is still there, who goes or changes its identity is not") {
  SeededRandom random(4);
  const auto make = [&](const char* node) {
    return Peer{IdentityKey::generate(random), ed25519_generate(random), node};
  };
  const Peer two = make("node2");
  const Peer three = make("node3");
  const Peer four = make("node4");
  const auto listed = [](const Peer& peer) {
    return ipc::Peer{peer.node, peer.identity.public_key()};
  };
  PresenceTable table("test", "node1", {{"node1", {}}, listed(two), listed(three)}, 1500);
  REQUIRE(table.on_beacon(1000, kWallMs / 1000, "node2", two.beacon(1)));
  REQUIRE(table.on_beacon(1000, kWallMs / 1000, "node3", three.beacon(1)));

  auto changes = table.reconfigure({{"node1", {}}, listed(two), listed(four)}, 3000);
  REQUIRE(changes.size() == 1);
  CHECK(changes.front().node == "node3");
  CHECK_FALSE(changes.front().present);
  CHECK(table.present("node2"));
  CHECK_FALSE(table.present("node4"));
  CHECK_FALSE(table.on_beacon(1000, kWallMs / 1000, "node3", three.beacon(2)));
  CHECK(table.on_beacon(1000, kWallMs / 1000, "node4", four.beacon(1)));
  CHECK_FALSE(table.on_beacon(1000, kWallMs / 1000, "node2", two.beacon(1)));  // heard before
  CHECK(table.on_timer(4000).empty());                                         // the new timeout
  CHECK(table.on_timer(4001).size() == 2);

  REQUIRE(table.on_beacon(5000, kWallMs / 1000, "node2", two.beacon(2)));
  Peer impostor = make("node2");
  changes = table.reconfigure({{"node1", {}}, listed(impostor)}, 3000);
  CHECK_FALSE(table.present("node2"));
  CHECK_FALSE(table.on_beacon(5000, kWallMs / 1000, "node2", two.beacon(3)));
  CHECK(table.on_beacon(5000, kWallMs / 1000, "node2", impostor.beacon(1)));
}
