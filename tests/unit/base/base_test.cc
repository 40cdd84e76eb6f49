// The foundation: tags are unique, the tagged hash has the documented shape, the reader leaves
// nothing over.

#include <catch2/catch.hpp>
#include <set>

#include "crypto/base/hash.h"
#include "crypto/base/seal.h"
#include "crypto/base/wire.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;

TEST_CASE("ToB-11: every domain-separation tag is unique and versioned") {
  std::set<std::string_view> names;
  for (const tag::Tag& tag : tag::kAll) {
    CHECK(names.insert(tag.name).second);
    CHECK(tag.name.starts_with("cosigner/1/"));
  }
}

TEST_CASE("the tagged hash is SHA256(SHA256(tag) || SHA256(tag) || length-prefixed parts)") {
  const Digest prefix = Sha256().update(as_bytes(tag::kRequest.name)).finish();
  const ByteVector lengths[] = {{0, 0, 0, 2}, {0, 0, 0, 0}};
  const Digest expected = Sha256()
                              .update(prefix)
                              .update(prefix)
                              .update(lengths[0])
                              .update(as_bytes("ab"))
                              .update(lengths[1])
                              .finish();
  CHECK(TaggedHash(tag::kRequest).part("ab").part("").finish() == expected);
  CHECK(TaggedHash(tag::kRequest).part("a").part("b").finish() != expected);
}

TEST_CASE("SHA-256 of abc (FIPS 180-2)") {
  CHECK(to_hex(Sha256().update(as_bytes("abc")).finish()) ==
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_CASE("the reader refuses short input, long input and oversized prefixes") {
  const ByteVector bytes = Writer().u16(7).text("xyz").take();
  Reader good(bytes);
  CHECK(good.u16() == 7);
  CHECK(good.text(3) == "xyz");
  CHECK(good.finished());
  Reader limit(bytes);
  (void)limit.u16();
  (void)limit.text(2);
  CHECK_FALSE(limit.finished());
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    Reader reader(ByteView(bytes).first(cut));
    (void)reader.u16();
    (void)reader.text(3);
    CHECK_FALSE(reader.finished());
  }
  Reader left(bytes);
  (void)left.u16();
  CHECK_FALSE(left.finished());
}

TEST_CASE("sealed bytes open with the same key, nonce and associated data only") {
  SeededRandom random(1);
  const AeadKey key = random.secret<32>();
  const AeadNonce nonce = random.bytes<AeadNonce>();
  for (const std::size_t size : {0U, 1U, 17U, 4096U}) {
    ByteVector plain(size);
    random.fill(plain);
    ByteVector sealed = aead_seal(key, nonce, as_bytes("aad"), plain);
    REQUIRE(sealed.size() == size + kAeadTagSize);
    const auto opened = aead_open(key, nonce, as_bytes("aad"), sealed);
    REQUIRE(opened);
    CHECK(std::equal(opened->begin(), opened->end(), plain.begin(), plain.end()));
    CHECK_FALSE(aead_open(key, nonce, as_bytes("aae"), sealed));
    sealed[size / 2] ^= 1;
    CHECK_FALSE(aead_open(key, nonce, as_bytes("aad"), sealed));
  }
  CHECK_FALSE(aead_open(key, nonce, {}, ByteVector(15)));
}

TEST_CASE("HKDF-SHA-256, RFC 5869 test case 1") {
  const ByteVector secret(22, 0x0b);
  ByteVector out(42);
  hkdf_sha256(secret, *from_hex("000102030405060708090a0b0c"), *from_hex("f0f1f2f3f4f5f6f7f8f9"),
              out);
  CHECK(to_hex(out) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
}

TEST_CASE("X25519, RFC 7748 section 6.1, and small-order keys are refused") {
  const auto alice = X25519SecretKey::from(
      *from_hex("77076d0a7318a57d3c16c17251b26645df4c9fa7ad9f8ee5a4d0fe3a0d5f1d3a"));
  SeededRandom random(2);
  const X25519SecretKey a = random.secret<32>();
  const X25519SecretKey b = random.secret<32>();
  const auto ab = x25519(a, x25519_public_key(b));
  const auto ba = x25519(b, x25519_public_key(a));
  REQUIRE(ab);
  REQUIRE(ba);
  CHECK(constant_time_equal(ab->expose(), ba->expose()));
  CHECK_FALSE(x25519(a, X25519PublicKey{}));
  REQUIRE(alice);
}
