// Sealed shares and pairwise channels: what opens, and that nothing else does.

#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "crypto/channel/channel.h"
#include "crypto/dkg/share_box.h"
#include "crypto/identity/share_seal.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;

namespace {

struct OwnedBinding {
  std::string user = "alice";
  std::string key = "main";
  std::string scheme = "ed25519";
  std::uint64_t epoch = 3;
  std::uint16_t threshold = 2;
  std::vector<std::pair<ParticipantIndex, std::string>> participants = {
      {1, "node1"}, {2, "node2"}, {3, "node3"}};
  std::vector<ByteVector> public_shares = {ByteVector(32, 1), ByteVector(32, 2), ByteVector(32, 3)};
  ByteVector record = ByteVector(100, 9);
  [[nodiscard]] ShareBinding view() const {
    return {user, key, scheme, epoch, threshold, participants, public_shares, record};
  }
};

AeadKey key_of(std::uint8_t fill, const char* cluster, const char* node, const char* user) {
  return derive_user_sealing_key(ByteVector(32, fill), cluster, node, user);
}

struct Worker {
  X25519SecretKey secret;
  Certificate certificate;
  [[nodiscard]] Worker duplicate() const { return {secret.duplicate(), certificate}; }
};

Worker worker_of(const std::string& node, std::uint64_t generation, Random& random) {
  Worker out;
  out.secret = random.secret<32>();
  out.certificate.cluster = "demo";
  out.certificate.node = node;
  out.certificate.user = "alice";
  out.certificate.generation = generation;
  out.certificate.x25519 = x25519_public_key(out.secret);
  out.certificate.ed25519 = random.bytes<Ed25519PublicKey>();
  out.certificate.not_after = 1;
  return out;
}

Channel connect(const Worker& from, const Worker& to) {
  return ChannelMaker(from.secret, from.certificate).connect(to.certificate).value();
}

}  // namespace

TEST_CASE("HKDF without salt and info: RFC 5869, appendix A.3") {
  ByteVector out(42);
  hkdf_sha256(ByteVector(22, 0x0b), {}, {}, out);
  CHECK(to_hex(out) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST_CASE("a sealed share opens for its own record, key and user only") {
  SeededRandom random(1);
  const OwnedBinding good;
  const AeadKey key = key_of(1, "demo", "node1", "alice");
  const ByteVector secret(40, 0x5e);
  const ByteVector sealed = seal_share(key, good.view(), secret, random);
  const auto opened = open_share(key, good.view(), sealed);
  REQUIRE(opened);
  CHECK(std::ranges::equal(*opened, secret));
  CHECK(seal_share(key, good.view(), secret, random) != sealed);  // a fresh nonce each time

  const std::vector<std::function<void(OwnedBinding&)>> alterations = {
      [](OwnedBinding& b) { b.user = "bob"; },
      [](OwnedBinding& b) { b.key = "other"; },
      [](OwnedBinding& b) { b.scheme = "bip340-secp256k1"; },
      [](OwnedBinding& b) { b.epoch = 4; },
      [](OwnedBinding& b) { b.threshold = 3; },
      [](OwnedBinding& b) { b.participants[1].first = 4; },
      [](OwnedBinding& b) { b.participants[1].second = "node4"; },
      [](OwnedBinding& b) { b.participants.pop_back(); },
      [](OwnedBinding& b) { b.public_shares[2][0] ^= 1; },
      [](OwnedBinding& b) { std::swap(b.public_shares[0], b.public_shares[1]); },
      [](OwnedBinding& b) { b.public_shares.pop_back(); },
      [](OwnedBinding& b) { b.record[50] ^= 1; },
      // The same letters, cut elsewhere.
      [](OwnedBinding& b) {
        b.user = "alicem";
        b.key = "ain";
      },
  };
  for (const auto& alter : alterations) {
    OwnedBinding bad;
    alter(bad);
    CHECK_FALSE(open_share(key, bad.view(), sealed));
  }
  CHECK_FALSE(open_share(key_of(2, "demo", "node1", "alice"), good.view(), sealed));
  CHECK_FALSE(open_share(key_of(1, "demo2", "node1", "alice"), good.view(), sealed));
  CHECK_FALSE(open_share(key_of(1, "demo", "node2", "alice"), good.view(), sealed));
  CHECK_FALSE(open_share(key_of(1, "demo", "node1", "bob"), good.view(), sealed));
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    CHECK_FALSE(open_share(key, good.view(), ByteView(sealed).first(i)));
    ByteVector bad = sealed;
    bad[i] ^= 0x20;
    CHECK_FALSE(open_share(key, good.view(), bad));
  }
}

TEST_CASE("a channel carries messages both ways, in any order") {
  SeededRandom random(2);
  const Worker a = worker_of("node1", 4, random);
  const Worker b = worker_of("node2", 9, random);
  Channel at_a = connect(a, b);
  Channel at_b = connect(b, a);
  CHECK(at_a.peer_node() == "node2");
  CHECK(at_a.peer_generation() == 9);
  std::vector<Channel::Sealed> sent;
  for (std::uint8_t i = 0; i < 10; ++i) {
    sent.push_back(at_a.seal(ByteVector{i}, ByteVector(i, i)));
    CHECK(sent.back().sequence == i);
  }
  for (std::uint8_t i = 10; i-- > 0;) {
    const auto opened = at_b.open(i, ByteVector{i}, sent[i].bytes);
    REQUIRE(opened);
    CHECK(std::ranges::equal(*opened, ByteVector(i, i)));
  }
  const auto back = at_b.seal({}, as_bytes("back"));
  CHECK(at_a.open(back.sequence, {}, back.bytes));
  // Reflected: what A sealed is not accepted by A.
  CHECK_FALSE(at_a.open(0, ByteVector{0}, sent[0].bytes));
}

TEST_CASE("ToB-6: the two directions of a channel, or of a share box, are two key streams") {
  // AES-GCM in counter mode: sealed zeros are the key stream itself. Under one key the directions
  // would show the same one at the same sequence number, whatever the associated data is.
  SeededRandom random(12);
  const Worker a = worker_of("node1", 4, random);
  const Worker b = worker_of("node2", 9, random);
  Channel at_a = connect(a, b);
  Channel at_b = connect(b, a);
  Channel next = connect(worker_of("node1", 5, random), b);
  const ByteVector zeros(64, 0);
  std::set<ByteVector> streams;
  std::size_t sealed = 0;
  const auto add = [&](ByteVector bytes) {
    bytes.resize(zeros.size());  // without the tag
    CHECK(streams.insert(std::move(bytes)).second);
    ++sealed;
  };
  for (int i = 0; i < 20; ++i) {
    for (Channel* channel : {&at_a, &at_b, &next}) {
      add(channel->seal({}, zeros).bytes);
    }
  }
  // The share box seals once under each of its keys; a key is one session's, one
  // direction's and one protocol's.
  const SecretBytes<32> shared = random.secret<32>();
  Digest other;
  other.data[0] = 1;
  for (const Digest& sid : {Digest(), other}) {
    for (const auto& [from, to] :
         std::vector<std::pair<ParticipantIndex, ParticipantIndex>>{{1, 2}, {2, 1}, {1, 3}}) {
      add(seal_share(shared, ShareRoute{sid, from, to}, zeros));
      add(seal_share(shared, ShareRoute{sid, from, to, tag::kRenewalShareKey}, zeros));
    }
  }
  CHECK(streams.size() == sealed);
}

TEST_CASE("a channel's message: sequence, associated data and every byte are authenticated") {
  SeededRandom random(3);
  const Worker a = worker_of("node1", 4, random);
  const Worker b = worker_of("node2", 9, random);
  Channel at_a = connect(a, b);
  const Channel at_b = connect(b, a);
  const auto sealed = at_a.seal(as_bytes("header"), as_bytes("payload"));
  REQUIRE(at_b.open(0, as_bytes("header"), sealed.bytes));
  CHECK_FALSE(at_b.open(1, as_bytes("header"), sealed.bytes));
  CHECK_FALSE(at_b.open(std::uint64_t{1} << 63U, as_bytes("header"), sealed.bytes));
  CHECK_FALSE(at_b.open(0, as_bytes("Header"), sealed.bytes));
  CHECK_FALSE(at_b.open(0, {}, sealed.bytes));
  for (std::size_t i = 0; i < sealed.bytes.size(); ++i) {
    CHECK_FALSE(at_b.open(0, as_bytes("header"), ByteView(sealed.bytes).first(i)));
    ByteVector bad = sealed.bytes;
    bad[i] ^= 1;
    CHECK_FALSE(at_b.open(0, as_bytes("header"), bad));
  }
}

TEST_CASE("a channel is bound to what both certificates certify") {
  SeededRandom random(4);
  const Worker a = worker_of("node1", 4, random);
  const Worker b = worker_of("node2", 9, random);
  const std::vector<std::pair<std::function<void(Certificate&)>, bool>> alterations = {
      {[](Certificate& c) { c.node = "node3"; }, false},
      {[](Certificate& c) { c.generation += 1; }, false},
      {[](Certificate& c) { c.ed25519.data[0] ^= 1; }, false},
      // A renewed certificate: the same keys, another validity and signature.
      {[](Certificate& c) { c.not_after += 3600; }, true},
      {[](Certificate& c) { c.signature.data[0] ^= 1; }, true},
  };
  for (const auto& [alter, opens] : alterations) {
    Worker other = a.duplicate();
    alter(other.certificate);
    // B believes in the altered certificate, A uses its own.
    Channel at_a = connect(a, b);
    const Channel at_b = connect(b, other);
    const auto sealed = at_a.seal({}, as_bytes("x"));
    CHECK(at_b.open(0, {}, sealed.bytes).has_value() == opens);
  }
}

TEST_CASE("which channels are refused") {
  SeededRandom random(5);
  const Worker a = worker_of("node1", 4, random);
  const Worker b = worker_of("node2", 9, random);
  ChannelMaker maker(a.secret, a.certificate);
  const auto with = [&](const std::function<void(Certificate&)>& alter) {
    Certificate peer = b.certificate;
    alter(peer);
    return maker.connect(peer).has_value();
  };
  CHECK_FALSE(with([](Certificate& c) { c.cluster = "demo2"; }));
  CHECK_FALSE(with([](Certificate& c) { c.user = "bob"; }));
  CHECK_FALSE(with([](Certificate& c) { c.role = CertificateRole::kGateway; }));
  CHECK_FALSE(with([](Certificate& c) { c.node = "node1"; }));
  CHECK_FALSE(with([](Certificate& c) { c.x25519 = {}; }));  // small order
  CHECK(with([](Certificate&) {}));
  CHECK_FALSE(with([](Certificate&) {}));  // a second counter over the same keys
  CHECK_FALSE(with([](Certificate& c) { c.generation = 8; }));
  CHECK(with([](Certificate& c) { c.generation = 10; }));
}

TEST_CASE("no (key, nonce) pair twice: what two channels seal never opens for the other") {
  // Keys are private; two pairs that were equal would show as equal keystreams. All channels of a
  // small cluster over several generations seal the same plaintext at the same sequence numbers:
  // every ciphertext must differ, since either key or nonce does.
  SeededRandom random(6);
  const int messages = test::rounds(20, 500);
  std::vector<Worker> workers;
  for (const char* node : {"node1", "node2", "node3"}) {
    const Worker first = worker_of(node, 1, random);
    for (std::uint64_t generation = 1; generation <= 3; ++generation) {
      // The same X25519 key in each generation: worse than any worker does.
      Worker worker = first.duplicate();
      worker.certificate.generation = generation;
      workers.push_back(std::move(worker));
    }
  }
  const ByteVector plain(32, 0);
  std::set<ByteVector> seen;
  std::size_t count = 0;
  for (const Worker& from : workers) {
    ChannelMaker maker(from.secret, from.certificate);
    for (const Worker& to : workers) {
      auto channel = maker.connect(to.certificate);
      if (!channel) {
        CHECK(from.certificate.node == to.certificate.node);
        continue;
      }
      for (int i = 0; i < messages; ++i) {
        const auto sealed = channel->seal({}, plain);
        // Without the tag: the keystream itself.
        seen.insert(ByteVector(sealed.bytes.begin(), sealed.bytes.begin() + 32));
        ++count;
      }
    }
  }
  CHECK(count == static_cast<std::size_t>(9 * 6 * messages));
  CHECK(seen.size() == count);
}
