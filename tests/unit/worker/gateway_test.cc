// The gateway's pure parts: what passes the gate and what a refusal says; who is present.

#include <catch2/catch.hpp>

#include "crypto/identity/certificate.h"
#include "tests/support/seeded_random.h"
#include "worker/gateway/presence.h"
#include "worker/gateway/request_gate.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

constexpr std::uint64_t kWall = 1'800'000'000'000;

struct GateFixture {
  SeededRandom random{7};
  IdentityKey client = IdentityKey::generate(random);
  IdentityKey stranger = IdentityKey::generate(random);

  [[nodiscard]] ipc::Initiator initiator() const {
    return {.name = "desk",
            .key = client.public_key(),
            .operations = {"sign"},
            .users = {"a*"},
            .requests_per_second = 0};
  }
  [[nodiscard]] Request request() {
    Request out;
    out.cluster = "test";
    out.initiator = client.public_key();
    out.operation = Operation::kSign;
    out.user = "alice";
    out.key = "main";
    out.id = random.bytes<RequestId>();
    out.issued_at_ms = kWall;
    out.expires_at_ms = kWall + 60'000;
    out.message = {1, 2, 3};
    return out;
  }
  RequestGate gate{"test", {"node2", "node3"}, {initiator()}, {}};

  RequestGate::Verdict check(const Request& request, const IdentityKey& key) {
    return gate.check(1, kWall, "", sign_request(request, key)->envelope);
  }
};

std::string refusal(const RequestGate::Verdict& verdict) {
  const auto* refused = std::get_if<RequestGate::Refused>(&verdict);
  return refused == nullptr
             ? ""
             : std::string(error_name(std::get<Error>(refused->answer.content).code));
}

}  // namespace

TEST_CASE("a valid request passes with its session, and again as a duplicate") {
  GateFixture f;
  const Request request = f.request();
  for (int i = 0; i < 2; ++i) {
    const auto verdict = f.check(request, f.client);
    REQUIRE(std::holds_alternative<RequestGate::Passed>(verdict));
    CHECK(std::get<RequestGate::Passed>(verdict).session == session_id(encode_request(request)));
  }
}

TEST_CASE("each refusal has its name") {
  GateFixture f;
  Request other_cluster = f.request();
  other_cluster.cluster = "prod";
  CHECK(refusal(f.check(other_cluster, f.client)) == "bad_request");

  Request unknown = f.request();
  unknown.initiator = f.stranger.public_key();
  CHECK(refusal(f.check(unknown, f.stranger)) == "unauthorized");

  Request other_user = f.request();
  other_user.user = "bob";
  CHECK(refusal(f.check(other_user, f.client)) == "denied");

  Request future = f.request();
  future.issued_at_ms = kWall + 61'000;
  future.expires_at_ms = kWall + 62'000;
  CHECK(refusal(f.check(future, f.client)) == "bad_request");

  Request long_ago = f.request();
  long_ago.issued_at_ms = kWall - 26ULL * 3600 * 1000;
  long_ago.expires_at_ms = kWall - 25ULL * 3600 * 1000;
  CHECK(refusal(f.check(long_ago, f.client)) == "expired");

  Request first = f.request();
  Request second = first;
  second.message = {9};
  CHECK(refusal(f.check(first, f.client)).empty());
  CHECK(refusal(f.check(second, f.client)) == "replayed");

  CHECK(refusal(f.gate.check(1, kWall, "", as_bytes("not msgpack"))) == "bad_request");
  CHECK(refusal(f.gate.check(1, kWall, "", ByteVector((2U << 20) + 1))) == "bad_request");
}

TEST_CASE("any altered byte of an envelope is refused") {
  GateFixture f;
  const ByteVector good = sign_request(f.request(), f.client)->envelope;
  for (std::size_t i = 0; i < good.size(); ++i) {
    ByteVector bad = good;
    bad[i] ^= 0x01;
    const auto verdict = f.gate.check(static_cast<std::int64_t>(i) * 1000, kWall, "", bad);
    CHECK_FALSE(std::holds_alternative<RequestGate::Passed>(verdict));
  }
}

TEST_CASE("a flood of refusals is answered at a bounded rate and costs a valid request nothing") {
  GateFixture f;
  Request bad = f.request();
  bad.initiator = f.stranger.public_key();
  const ByteVector envelope = sign_request(bad, f.stranger)->envelope;
  for (int i = 0; i < 5000; ++i) {
    (void)f.gate.check(1, kWall, "", envelope);
  }
  CHECK(f.gate.counters().refused == 1000);
  CHECK(f.gate.counters().dropped_refusals == 4000);
  CHECK(f.gate.counters().dropped() == 4000);
  CHECK(f.gate.take_counters().by_error.at(ErrorCode::kUnauthorized) == 5000);
  CHECK(f.gate.counters().dropped() == 0);  // counted anew
  const auto unreadable = f.gate.check(1, kWall, "", as_bytes("not msgpack"));
  CHECK(std::holds_alternative<RequestGate::Dropped>(unreadable));
  CHECK(f.gate.counters().dropped_refusals == 1);
  CHECK(std::holds_alternative<RequestGate::Passed>(f.check(f.request(), f.client)));
}

TEST_CASE("an initiator's rate is limited, with a delay, and refills with time") {
  GateFixture f;
  ipc::Initiator slow = f.initiator();
  slow.requests_per_second = 2;
  RequestGate gate("test", {"node2"}, {slow}, {});
  const auto ask = [&](std::int64_t now_ms) {
    return refusal(gate.check(now_ms, kWall, "", sign_request(f.request(), f.client)->envelope));
  };
  CHECK(ask(1000).empty());
  CHECK(ask(1000).empty());
  CHECK(ask(1000) == "rate_limited");
  CHECK(ask(1600).empty());
  CHECK(ask(1600) == "rate_limited");
  // A peer's wake-ups are counted apart.
  CHECK(refusal(gate.check(1600, kWall, "node2", sign_request(f.request(), f.client)->envelope))
            .empty());
}

TEST_CASE("who repeats an initiator's request uses up nothing of its rate") {
  GateFixture f;
  ipc::Initiator slow = f.initiator();
  slow.requests_per_second = 2;
  RequestGate gate("test", {"node2"}, {slow}, {});
  const auto passes = [&](std::int64_t now_ms, ByteView envelope) {
    return std::holds_alternative<RequestGate::Passed>(gate.check(now_ms, kWall, "", envelope));
  };
  const Request request = f.request();
  const ByteVector envelope = sign_request(request, f.client)->envelope;
  Request other_bytes = request;
  other_bytes.message = {9};
  const ByteVector conflicting = sign_request(other_bytes, f.client)->envelope;
  std::size_t passed = 0;
  for (std::int64_t now_ms = 1; now_ms <= 5000; ++now_ms) {
    passed += passes(now_ms, envelope) ? 1U : 0U;
    CHECK_FALSE(passes(now_ms, conflicting));
  }
  // Once for the initiator; again as often as the initiator may ask anew: 2 at once, 2 a second.
  CHECK(passed == 1 + 2 + 9);
  CHECK(gate.counters().dropped_repeats == 5000 - passed);
  CHECK(passes(5000, sign_request(f.request(), f.client)->envelope));
  CHECK(passes(5000, sign_request(f.request(), f.client)->envelope));
  CHECK_FALSE(passes(5000, sign_request(f.request(), f.client)->envelope));

  // With a high rate of its own initiator, one request still has its own limit.
  ipc::Initiator fast = f.initiator();
  fast.requests_per_second = 100'000;
  RequestGate wide("test", {}, {fast}, {});
  passed = 0;
  for (int i = 0; i < 5000; ++i) {
    passed +=
        std::holds_alternative<RequestGate::Passed>(wide.check(1, kWall, "", envelope)) ? 1U : 0U;
  }
  CHECK(passed == 1 + 5);
}

TEST_CASE("only peers forward requests, each at its own rate, and no name makes a new one") {
  GateFixture f;
  const auto forwarded = [&](std::string_view by) {
    return f.gate.check(1, kWall, by, sign_request(f.request(), f.client)->envelope);
  };
  CHECK(std::holds_alternative<RequestGate::Passed>(forwarded("node2")));
  CHECK(std::holds_alternative<RequestGate::Passed>(forwarded("node3")));
  CHECK(std::holds_alternative<RequestGate::Passed>(f.check(f.request(), f.client)));
  const std::size_t rates = f.gate.rates();
  CHECK(rates == 3);
  for (int i = 0; i < 100; ++i) {
    const std::string name = i == 0 ? "node1" : i == 1 ? "node2.x" : "a.b." + std::to_string(i);
    CHECK(std::holds_alternative<RequestGate::Dropped>(forwarded(name)));
  }
  CHECK(f.gate.rates() == rates);
  CHECK(f.gate.counters().dropped_strangers == 100);

  // A slow initiator's request, forwarded first, does not make its peer slow for all others.
  ipc::Initiator slow = f.initiator();
  slow.requests_per_second = 1;
  ipc::Settings settings;
  settings.requests_per_second = 3;
  RequestGate gate("test", {"node2"}, {slow}, settings);
  std::size_t passed = 0;
  for (int i = 0; i < 10; ++i) {
    passed += std::holds_alternative<RequestGate::Passed>(
                  gate.check(1, kWall, "node2", sign_request(f.request(), f.client)->envelope))
                  ? 1U
                  : 0U;
  }
  CHECK(passed == 3);
}

namespace {

struct PresenceFixture {
  SeededRandom random{9};
  IdentityKey identity = IdentityKey::generate(random);
  Ed25519SecretKey key = ed25519_generate(random);
  PresenceTable table{"test", "node1", {{"node1", {}}, {"node2", identity.public_key()}}, 1500};
  static constexpr std::uint64_t kSeconds = kWall / 1000;

  ByteVector certificate(std::uint64_t generation,
                         CertificateRole role = CertificateRole::kGateway) {
    Certificate out{.cluster = "test",
                    .node = "node2",
                    .role = role,
                    .user = role == CertificateRole::kWorker ? "u" : "",
                    .generation = generation,
                    .x25519 = {},
                    .ed25519 = ed25519_public_key(key),
                    .not_before = kSeconds - 10,
                    .not_after = kSeconds + 3590,
                    .signature = {}};
    sign_certificate(out, identity);
    return encode_certificate(out);
  }
  auto hear(std::int64_t now_ms, std::uint64_t count, bool bye = false,
            std::uint64_t generation = 5) {
    return table.on_beacon(now_ms, kSeconds, "node2",
                           encode_beacon({count, bye}, certificate(generation), key));
  }
};

}  // namespace

TEST_CASE("a peer is present from its first beacon until its bye or its silence") {
  PresenceFixture f;
  CHECK_FALSE(f.table.present("node2"));
  CHECK(f.table.present("node1"));
  REQUIRE(f.hear(1000, 1));
  CHECK(f.table.present("node2"));
  CHECK(f.table.on_timer(2500).empty());
  CHECK(f.table.on_timer(2501).size() == 1);
  CHECK_FALSE(f.table.present("node2"));
  const auto back = f.hear(2600, 2);
  REQUIRE(back);
  REQUIRE(*back);
  CHECK((*back)->present);
  const auto gone = f.hear(2700, 3, true);
  REQUIRE(gone);
  REQUIRE(*gone);
  CHECK_FALSE((*gone)->present);
}

TEST_CASE("beacons that are replayed, old, altered or another role's change nothing") {
  PresenceFixture f;
  REQUIRE(f.hear(1000, 5));
  CHECK(f.hear(1000, 5).error().code == ErrorCode::kReplayed);
  CHECK(f.hear(1000, 4).error().code == ErrorCode::kReplayed);
  CHECK(f.hear(1000, 9, false, 4).error().code == ErrorCode::kReplayed);
  REQUIRE(f.hear(1000, 1, false, 6));  // a new generation counts from the start

  const ByteVector good = encode_beacon({2, true}, f.certificate(6), f.key);
  for (std::size_t i = 0; i < good.size(); ++i) {
    ByteVector bad = good;
    bad[i] ^= 0x10;
    CHECK_FALSE(f.table.on_beacon(1000, PresenceFixture::kSeconds, "node2", bad));
    CHECK_FALSE(
        f.table.on_beacon(1000, PresenceFixture::kSeconds, "node2", ByteView(good).first(i)));
  }
  CHECK(f.table.present("node2"));
  const ByteVector worker =
      encode_beacon({3, true}, f.certificate(7, CertificateRole::kWorker), f.key);
  CHECK_FALSE(f.table.on_beacon(1000, PresenceFixture::kSeconds, "node2", worker));
  CHECK_FALSE(f.table.on_beacon(1000, PresenceFixture::kSeconds, "node3", good));
  CHECK(f.table.on_disconnected().size() == 1);
}
