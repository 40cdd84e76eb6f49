// One hostile party among enough honest ones, a worker with its own keys or the broker: it takes
// nobody's session and makes no honest node exclude another.
#include <catch2/catch.hpp>

#include "tests/support/double_agent.h"
#include "tests/support/impostor.h"
#include "tests/support/presign_cluster.h"
#include "tests/support/seeded_random.h"
#include "worker/session/early_bytes.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

bool all_ok(EngineCluster& cluster, const std::vector<std::uint64_t>& works) {
  return std::ranges::all_of(works, [&](std::uint64_t id) {
    if (const auto* error = std::get_if<Error>(&cluster.answer(id).content)) {
      UNSCOPED_INFO(cluster.work(id).node << ": " << error_name(error->code) << ", peer "
                                          << error->peer << ": " << error->peer_reason);
    }
    return cluster.answer(id).ok();
  });
}

/// "node x misbehaved" in the log of `by`.
bool blamed(EngineCluster& cluster, const std::string& by, const std::string& node) {
  return std::ranges::any_of(cluster.log, [&](const std::string& line) {
    return line.starts_with(by + ": node " + node + " misbehaved");
  });
}

}  // namespace

TEST_CASE("two Advance of one peer end no session that the others finish", "[misbehaviour]") {
  // n3 is silent but for its lies; where it is the third coordinator, both honest nodes would wait
  // for it in the last attempt.
  const auto lies = GENERATE(std::vector<std::uint16_t>{6, 11}, std::vector<std::uint16_t>{11},
                             std::vector<std::uint16_t>{12, 23},
                             std::vector<std::uint16_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
  CAPTURE(lies);
  EngineCluster cluster(5, 3);
  cluster.make_key("k", 2);
  cluster.filter = [](const std::string& from, const std::string&, ByteVector&) {
    return from != "n3";
  };
  Impostor liar(cluster, "n3", "n1");
  for (int i = 0; i < 6; ++i) {
    const SignedRequest request = cluster.coordinated_by("n3", static_cast<std::uint16_t>(i % 3));
    std::vector<std::uint64_t> works{cluster.ask(cluster.node(0), request.envelope)};
    cluster.run(kMs);
    std::vector<ByteVector> messages;
    for (const std::uint16_t attempt : lies) {
      messages.push_back(encode_message(Advance{request.session, attempt}));
    }
    liar.say(messages);
    cluster.run(kMs);
    works.push_back(cluster.ask(cluster.node(1), request.envelope));
    REQUIRE(cluster.settle(works));
    CHECK(all_ok(cluster, works));
  }
}

TEST_CASE(
    "a coordinator that names a presignature to one member and none to another divides nobody",
    "[misbehaviour]") {
  PresignCluster cluster(6, 4, 3);
  cluster.presign(48);
  int told_otherwise = 0;
  DoubleAgent agent(cluster, "n1", [&](const std::string& to, std::vector<ByteVector>& messages) {
    std::erase_if(messages, [](const ByteVector& message) {
      return is<AttemptAbort>(message) || is<Round>(message);
    });
    for (ByteVector& message : messages) {
      if (is<Start>(message) && to == "n3") {
        auto start = decoded<Start>(message);
        if (start.presignature != Digest{}) {
          start.presignature = {};
          message = encode_message(start);
          ++told_otherwise;
        }
      }
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  for (int i = 0; i < 6; ++i) {
    Request request;
    const auto works = cluster.ask_all(cluster.coordinated_by("n1", request).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(all_ok(cluster, {works[1], works[2], works[3]}));
  }
  REQUIRE(told_otherwise > 0);
  for (const char* by : {"n2", "n3", "n4"}) {
    for (const char* node : {"n2", "n3", "n4"}) {
      CHECK_FALSE(blamed(cluster, by, node));
    }
  }
  for (std::size_t i = 1; i < 4; ++i) {
    CHECK(cluster.counters(i).burns == 0);
  }
}

TEST_CASE("a broker that exchanges the certificate beside a hello makes nobody exclude anyone",
          "[misbehaviour]") {
  EngineCluster cluster(8, 2);
  cluster.make_key("k", 2);
  const ByteVector older = encode_certificate(cluster.node(1).certificate);
  cluster.run(std::int64_t{47} * 60 * kSecond);
  REQUIRE(encode_certificate(cluster.node(1).certificate) != older);  // renewed, same keys
  const auto before = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1})).envelope);
  REQUIRE(cluster.settle(before));
  int exchanged = 0;
  cluster.filter = [&](const std::string& from, const std::string&, ByteVector& packet) {
    if (from == "n2" && packet_kind(packet) == PacketKind::kHello) {
      SignedHello hello = decode_hello_packet(packet).value();
      hello.certificate = older;
      packet = encode_hello_packet(hello);
      ++exchanged;
    }
    return true;
  };
  const auto works = cluster.ask_all(cluster.coordinated_by("n1", 0).envelope);
  REQUIRE(cluster.settle(works));
  REQUIRE(exchanged > 0);
  CHECK(all_ok(cluster, works));
  CHECK_FALSE(blamed(cluster, "n2", "n1"));
}

TEST_CASE("who certifies two workers with one generation is blamed, not who forwards its hello",
          "[misbehaviour]") {
  EngineCluster cluster(4, 3);
  cluster.make_key("k", 3);
  auto& n2 = cluster.node(1);
  auto& n3 = cluster.node(2);
  cluster.kill(n2);
  cluster.start_worker(n2);
  cluster.run(5 * kMs);
  SeededRandom random(77);
  Certificate other = n3.certificate;
  other.x25519 = x25519_public_key(random.secret<32>());
  other.ed25519 = ed25519_public_key(ed25519_generate(random));
  sign_certificate(other, n3.identity);
  cluster.deliver("n3", "n2", encode_greeting(false, encode_certificate(other)));
  const auto works = cluster.ask_all(cluster.coordinated_by("n1", 0).envelope);
  REQUIRE(cluster.settle(works));
  CHECK(blamed(cluster, "n2", "n3"));
  CHECK_FALSE(blamed(cluster, "n2", "n1"));
  CHECK_FALSE(blamed(cluster, "n1", "n2"));
  const auto& error = std::get<Error>(cluster.answer(works[1]).content);
  CHECK(error.code == ErrorCode::kPeerMisbehaved);
  CHECK(error.peer == "n3");
  const auto lines = std::ranges::count_if(cluster.log, [](const std::string& line) {
    return line.find("the second certificate is refused") != std::string::npos;
  });
  CHECK(lines == 1);
}

TEST_CASE("of rounds that come before their start one of the first round is kept, if it can be one",
          "[misbehaviour]") {
  EngineCluster cluster(5, 3);
  cluster.make_key("k", 2);
  cluster.node(1).cut = true;  // away for the moment
  cluster.filter = [](const std::string& from, const std::string&, ByteVector&) {
    return from != "n3";
  };
  Impostor liar(cluster, "n3", "n1");
  const SignedRequest request = cluster.coordinated_by("n2", 0);  // nobody else starts it
  const auto work = cluster.ask(cluster.node(0), request.envelope);
  cluster.run(2 * kMs);
  const auto refused = [&] { return cluster.counters(0).messages_refused; };
  const auto round = [&](std::uint8_t number, std::size_t size) {
    const std::uint64_t before = refused();
    liar.say({encode_message(Round{request.session, 0, {}, number, ByteVector(size, 7)})});
    cluster.run(1);
    return refused() == before;
  };
  CHECK_FALSE(round(1, 65));  // a FROST share has 64 bytes
  CHECK_FALSE(round(1, kMaxRoundPayload));
  CHECK_FALSE(round(2, 64));
  CHECK(round(1, 64));
  CHECK_FALSE(round(1, 64));
  static_cast<void>(work);
}

TEST_CASE("what is kept of one peer's early rounds is bounded over all sessions") {
  EarlyBytes bytes;
  std::vector<EarlyBytes::Held> kept;
  const std::size_t size = 40'228;  // the longest ECDSA message
  while (auto held = bytes.hold("n3", size)) {
    kept.push_back(*std::move(held));
    REQUIRE(kept.size() < 1000);
  }
  CHECK(bytes.of("n3") == kept.size() * size);
  CHECK(bytes.of("n3") <= EarlyBytes::kMaxOfPeer);
  CHECK(bytes.of("n3") + size > EarlyBytes::kMaxOfPeer);
  CHECK(bytes.hold("n2", EarlyBytes::kMaxOfPeer));  // its own bound, given back at once
  CHECK_FALSE(bytes.hold("n2", EarlyBytes::kMaxOfPeer + 1));
  CHECK_FALSE(bytes.hold("n2", SIZE_MAX));
  kept.erase(kept.begin());
  CHECK(bytes.hold("n3", size));
  kept.clear();
  CHECK(bytes.of("n3") == 0);
  CHECK(bytes.of("n2") == 0);
}

TEST_CASE("a hello that claims a ban of another keeps no presignature with that one unused",
          "[presign]") {
  // n1 says in hellos with its own signature that it may not sign with n2, and that it holds what
  // n3 may name. n3 has presignatures with n2 alone.
  PresignCluster cluster(12, 3, 2, 8);
  cluster.set_present(cluster.node(0), false);
  cluster.sign_one();
  REQUIRE(cluster.run(60 * kSecond, [&] { return cluster.ready() == 16; }));
  cluster.set_present(cluster.node(0), true);
  DoubleAgent agent(cluster, "n1", [](const std::string&, std::vector<ByteVector>& messages) {
    std::erase_if(messages, is<PresignAccept>);
  });
  std::size_t lies = 0;
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    if (from == "n1" && packet_kind(packet) == PacketKind::kHello) {
      SignedHello hello = decode_hello_packet(packet).value();
      Hello body = decode_fields<Hello>(hello.body).value();
      body.banned = {"n2"};
      body.presignatures = 5;
      hello.body = encode_fields(body);
      hello.signature = ed25519_sign(cluster.node("n1").signing_secret,
                                     hello_digest("test", "alice", hello.body));
      packet = encode_hello_packet(hello);
      ++lies;
    }
    return agent(from, to, packet);
  };
  constexpr std::size_t kSignatures = 6;
  const std::size_t used = cluster.uses.size();
  for (std::size_t k = 0; k < kSignatures; ++k) {
    Request request;
    const auto works = cluster.ask_all(cluster.coordinated_by("n3", request).envelope);
    REQUIRE(works.size() == 3);
    REQUIRE(cluster.settle(works));
    CHECK(cluster.check_signatures(works, request.message) == works.size());
  }
  CHECK(lies >= kSignatures);
  CHECK(cluster.uses.size() == used + 2 * kSignatures);
  cluster.check_single_use();
}
