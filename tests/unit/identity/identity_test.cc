// Statements and certificates: what one altered field does.

#include <openssl/evp.h>

#include <catch2/catch.hpp>
#include <functional>

#include "crypto/identity/certificate.h"
#include "crypto/identity/statement.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;

namespace {

constexpr std::uint64_t kNow = 1'790'000'000;

Statement example_statement(const IdentityKey& identity) {
  SeededRandom random(5);
  Statement out{.kind = StatementKind::kKeyAcknowledgement,
                .cluster = "demo",
                .node = "node1",
                .user = "alice@example",
                .generation = 7,
                .key = "main",
                .epoch = 1,
                .session = random.bytes<SessionId>(),
                .digest = random.bytes<Digest>(),
                .signature = {}};
  sign_statement(out, identity);
  return out;
}

Certificate example_certificate(const IdentityKey& identity) {
  SeededRandom random(6);
  Certificate out{.cluster = "demo",
                  .node = "node1",
                  .role = CertificateRole::kWorker,
                  .user = "alice@example",
                  .generation = 7,
                  .x25519 = random.bytes<X25519PublicKey>(),
                  .ed25519 = random.bytes<Ed25519PublicKey>(),
                  .not_before = kNow,
                  .not_after = kNow + kCertificateLifetimeSeconds,
                  .signature = {}};
  sign_certificate(out, identity);
  return out;
}

bool openssl_verifies(const Ed25519PublicKey& key, ByteView message,
                      const Ed25519Signature& signature) {
  EVP_PKEY* const pkey =
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data.data(), key.data.size());
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  const bool ok = EVP_DigestVerifyInit(context, nullptr, nullptr, nullptr, pkey) == 1 &&
                  EVP_DigestVerify(context, signature.data.data(), signature.data.size(),
                                   message.data(), message.size()) == 1;
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(pkey);
  return ok;
}

Ed25519Signature openssl_signs(const SecretBytes<32>& seed, ByteView message) {
  EVP_PKEY* const pkey =
      EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.expose().data(), 32);
  EVP_MD_CTX* const context = EVP_MD_CTX_new();
  Ed25519Signature out;
  std::size_t size = out.data.size();
  REQUIRE(EVP_DigestSignInit(context, nullptr, nullptr, nullptr, pkey) == 1);
  REQUIRE(EVP_DigestSign(context, out.data.data(), &size, message.data(), message.size()) == 1);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(pkey);
  return out;
}

}  // namespace

TEST_CASE("signatures agree with OpenSSL's, both ways") {
  SeededRandom random(1);
  for (int i = 0; i < test::rounds(50, 2000); ++i) {
    const auto seed = random.secret<32>();
    const IdentityKey identity = IdentityKey::from_seed(seed);
    const Ed25519SecretKey plain = ed25519_from_seed(seed);
    ByteVector message(static_cast<std::size_t>(i * 7 % 300));
    random.fill(message);
    const Ed25519Signature signature = identity.sign(message);
    CHECK(signature == ed25519_sign(plain, message));
    CHECK(signature == openssl_signs(seed, message));
    CHECK(openssl_verifies(identity.public_key(), message, signature));
    CHECK(ed25519_verify(ed25519_public_key(plain), message, signature));
    Ed25519Signature bad = signature;
    bad.data[static_cast<std::size_t>(i) % 64] ^= 1;
    CHECK_FALSE(ed25519_verify(identity.public_key(), message, bad));
  }
  // RFC 8032 §7.1, test 1: the empty message.
  const auto seed = SecretBytes<32>::from(
      *from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"));
  const IdentityKey identity = IdentityKey::from_seed(*seed);
  CHECK(to_hex(identity.public_key()) ==
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  CHECK(to_hex(identity.sign({})) ==
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b");
}

TEST_CASE("a public key of small order verifies nothing") {
  Ed25519PublicKey identity_point;
  identity_point.data[0] = 1;
  Ed25519Signature trivial;
  trivial.data[0] = 1;  // R = identity, S = 0: holds for the identity as key in a lax verifier
  CHECK_FALSE(ed25519_verify(identity_point, as_bytes("anything"), trivial));
  CHECK_FALSE(ed25519_verify(Ed25519PublicKey{}, as_bytes("anything"), Ed25519Signature{}));
}

TEST_CASE("a statement: each altered field spoils the signature") {
  SeededRandom random(2);
  const IdentityKey identity = IdentityKey::generate(random);
  const Statement good = example_statement(identity);
  CHECK(verify_statement(good, identity.public_key()));
  CHECK_FALSE(verify_statement(good, IdentityKey::generate(random).public_key()));
  const std::vector<std::function<void(Statement&)>> alterations = {
      [](Statement& s) { s.kind = StatementKind::kAnswer; },
      [](Statement& s) { s.kind = StatementKind::kKeyRefusal; },
      [](Statement& s) { s.cluster = "demo2"; },
      [](Statement& s) { s.node = "node2"; },
      [](Statement& s) { s.user = "bob"; },
      [](Statement& s) { s.generation = 8; },
      [](Statement& s) { s.key = "other"; },
      [](Statement& s) { s.epoch = 2; },
      [](Statement& s) { s.session.data[31] ^= 1; },
      [](Statement& s) { s.digest.data[0] ^= 1; },
      [](Statement& s) { s.signature.data[10] ^= 1; },
      // The same letters, cut elsewhere: parts are length-prefixed.
      [](Statement& s) {
        s.cluster = "dem";
        s.node = "onode1";
      },
  };
  for (const auto& alter : alterations) {
    Statement bad = good;
    alter(bad);
    CHECK_FALSE(verify_statement(bad, identity.public_key()));
  }
}

TEST_CASE("a statement's encoding: every altered byte is refused or spoils the signature") {
  SeededRandom random(3);
  const IdentityKey identity = IdentityKey::generate(random);
  const Statement good = example_statement(identity);
  const ByteVector bytes = encode_statement(good);
  REQUIRE(decode_statement(bytes));
  CHECK(*decode_statement(bytes) == good);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK_FALSE(decode_statement(ByteView(bytes).first(i)));
    for (int bit = 0; bit < 8; ++bit) {
      ByteVector bad = bytes;
      bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1U << bit));
      const auto decoded = decode_statement(bad);
      CHECK((!decoded || !verify_statement(*decoded, identity.public_key())));
    }
  }
  ByteVector longer = bytes;
  longer.push_back(0);
  CHECK_FALSE(decode_statement(longer));
  for (const auto kind :
       {StatementKind::kAnswer, StatementKind::kKeyAcknowledgement, StatementKind::kKeyRefusal}) {
    CHECK(statement_kind_from_name(statement_kind_name(kind)) == kind);
  }
  CHECK_FALSE(statement_kind_from_name("answers"));
}

TEST_CASE("a certificate: each altered field is refused, and so is each altered byte") {
  SeededRandom random(4);
  const IdentityKey identity = IdentityKey::generate(random);
  const Certificate good = example_certificate(identity);
  const ExpectedHolder holder{.cluster = "demo",
                              .node = "node1",
                              .role = CertificateRole::kWorker,
                              .user = "alice@example"};
  const auto opens = [&](const Certificate& certificate, const ExpectedHolder& expected) {
    return open_certificate(encode_certificate(certificate), expected, identity.public_key(), kNow)
        .has_value();
  };
  REQUIRE(opens(good, holder));
  CHECK(*open_certificate(encode_certificate(good), holder, identity.public_key(), kNow) == good);
  const std::vector<std::function<void(Certificate&)>> alterations = {
      [](Certificate& c) { c.cluster = "demo2"; },
      [](Certificate& c) { c.node = "node2"; },
      [](Certificate& c) { c.role = CertificateRole::kGateway; },
      [](Certificate& c) { c.user = "bob"; },
      [](Certificate& c) { c.generation = 8; },
      [](Certificate& c) { c.x25519.data[3] ^= 1; },
      [](Certificate& c) { c.ed25519.data[3] ^= 1; },
      [](Certificate& c) { c.not_before -= 1; },
      [](Certificate& c) { c.not_after += 1; },
      [](Certificate& c) { c.signature.data[3] ^= 1; },
  };
  for (const auto& alter : alterations) {
    Certificate bad = good;
    alter(bad);
    CHECK_FALSE(opens(bad, holder));
    CHECK_FALSE(verify_certificate(bad, identity.public_key(), kNow));
  }
  // Rightly signed, but somebody else's.
  for (const ExpectedHolder& other :
       {ExpectedHolder{"demo2", "node1", CertificateRole::kWorker, "alice@example"},
        ExpectedHolder{"demo", "node2", CertificateRole::kWorker, "alice@example"},
        ExpectedHolder{"demo", "node1", CertificateRole::kGateway, ""},
        ExpectedHolder{"demo", "node1", CertificateRole::kWorker, "bob"}}) {
    CHECK_FALSE(opens(good, other));
  }
  const ByteVector bytes = encode_certificate(good);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK_FALSE(decode_certificate(ByteView(bytes).first(i)));
    ByteVector bad = bytes;
    bad[i] ^= 0x11;
    CHECK_FALSE(open_certificate(bad, holder, identity.public_key(), kNow));
  }
}

TEST_CASE("a certificate's validity, with skew and without overflow") {
  SeededRandom random(7);
  const IdentityKey identity = IdentityKey::generate(random);
  const Certificate good = example_certificate(identity);
  const auto valid = [&](std::uint64_t now) {
    return verify_certificate(good, identity.public_key(), now).has_value();
  };
  CHECK(valid(good.not_before - kCertificateSkewSeconds));
  CHECK_FALSE(valid(good.not_before - kCertificateSkewSeconds - 1));
  CHECK(valid(good.not_after + kCertificateSkewSeconds));
  CHECK_FALSE(valid(good.not_after + kCertificateSkewSeconds + 1));
  CHECK_FALSE(valid(0));
  CHECK_FALSE(valid(UINT64_MAX));
  for (const std::uint64_t lifetime : {kCertificateLifetimeSeconds, kCertificateLifetimeSeconds + 1,
                                       UINT64_MAX - good.not_before}) {
    Certificate other = good;
    other.not_after = other.not_before + lifetime;
    sign_certificate(other, identity);
    CHECK(verify_certificate(other, identity.public_key(), kNow).has_value() ==
          (lifetime == kCertificateLifetimeSeconds));
  }
  Certificate forever = good;
  forever.not_before = UINT64_MAX - 1;
  forever.not_after = UINT64_MAX;
  sign_certificate(forever, identity);
  CHECK_FALSE(verify_certificate(forever, identity.public_key(), kNow));
  Certificate backwards = good;
  backwards.not_after = backwards.not_before;
  sign_certificate(backwards, identity);
  CHECK_FALSE(decode_certificate(encode_certificate(backwards)));
  Certificate gateway_with_user = good;
  gateway_with_user.role = CertificateRole::kGateway;
  sign_certificate(gateway_with_user, identity);
  CHECK_FALSE(decode_certificate(encode_certificate(gateway_with_user)));
  Certificate worker_without = good;
  worker_without.user.clear();
  sign_certificate(worker_without, identity);
  CHECK_FALSE(decode_certificate(encode_certificate(worker_without)));
}
