// Scheme names, parameters that are refused whatever the scheme, and which signatures verify.
#include <openssl/evp.h>

#include <catch2/catch.hpp>
#include <memory>

#include "crypto/ed25519/group.h"
#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/lagrange.h"
#include "tests/support/ed25519_encodings.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"

using namespace cosigner;
using namespace cosigner::test;
using Group = Ed25519Group;

TEST_CASE("schemes: names go both ways") {
  for (const Scheme scheme :
       {Scheme::kEd25519, Scheme::kEcdsaSecp256k1, Scheme::kBip340Secp256k1}) {
    CHECK(scheme_from_name(scheme_name(scheme)) == scheme);
  }
  CHECK(scheme_name(Scheme::kEd25519) == "ed25519");
  CHECK_FALSE(scheme_from_name("Ed25519"));
  CHECK_FALSE(scheme_from_name(""));
  CHECK_FALSE(scheme_from_name("unknown"));
  SeededRandom random(1);
  CHECK_FALSE(make_keygen(keygen_parameters(static_cast<Scheme>(99), 2, {1, 2}, 1), random));
  CHECK_FALSE(verify_signature_vartime(static_cast<Scheme>(99), {}, {}, {}));
}

TEST_CASE("keygen: thresholds and participants that are refused") {
  SeededRandom random(2);
  const auto refused = [&](std::uint16_t t, std::vector<ParticipantIndex> list,
                           ParticipantIndex self) {
    const auto made =
        make_keygen(keygen_parameters(Scheme::kEd25519, t, std::move(list), self), random);
    return !made && made.error().abort_class == AbortClass::kRecoverable;
  };
  CHECK_FALSE(refused(2, {1, 2}, 1));
  CHECK(refused(0, {1, 2}, 1));
  CHECK(refused(1, {1, 2}, 1));
  CHECK(refused(3, {1, 2}, 1));
  CHECK(refused(2, {2, 1}, 1));
  CHECK(refused(2, {1, 1}, 1));
  CHECK(refused(2, {0, 1}, 1));
  CHECK(refused(2, {1, 2}, 3));
  CHECK(refused(2, {1, 2}, 0));
  CHECK(refused(2, {}, 1));
  CHECK(refused(2, first_indices(kMaxParticipants + 1), 1));
}

TEST_CASE("Lagrange coefficients interpolate, near and far") {
  for (const std::vector<ParticipantIndex>& set :
       {std::vector<ParticipantIndex>{1, 2}, {1, 3, 32}, {7, 8, 9, 40, 65535}, {32, 31, 1}}) {
    // Σ λ_i·f(i) = f(0) for f(x) = 5 + x².
    auto sum = Group::scalar(0);
    auto weights = Group::scalar(0);
    for (const ParticipantIndex i : set) {
      const auto weight = lagrange_vartime<Group>(set, i);
      weights = weights + weight;
      sum = sum + weight * (Group::scalar(5) + Group::scalar(i) * Group::scalar(i));
    }
    CHECK(weights == Group::scalar(1));
    if (set.size() > 2) {
      CHECK(sum == Group::scalar(5));
    }
  }
}

namespace {

bool openssl_verifies(ByteView key, ByteView message, ByteView signature) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()),
      &EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

}  // namespace

TEST_CASE("Ed25519 verification: RFC 8032, and what must not verify") {
  // RFC 8032 §7.1, test 2.
  const ByteVector key =
      *from_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const ByteVector message{0x72};
  const ByteVector good = *from_hex(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
      "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  const auto verifies = [](ByteView k, ByteView m, ByteView s) {
    const bool ours = verify_signature_vartime(Scheme::kEd25519, k, m, s);
    if (ours && k.size() == 32 && s.size() == 64) {
      CHECK(openssl_verifies(k, m, s));  // never more lenient than OpenSSL
    }
    return ours;
  };
  CHECK(verifies(key, message, good));
  CHECK_FALSE(verifies(key, {}, good));
  CHECK_FALSE(verifies(ByteView(key).first(31), message, good));
  CHECK_FALSE(verifies(key, message, ByteView(good).first(63)));
  CHECK_FALSE(verifies(key, message, {}));
  for (std::size_t bit = 0; bit < 512; ++bit) {
    ByteVector bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1U << (bit % 8));
    CHECK_FALSE(verifies(key, message, bad));
  }
  // s + L is the same residue, and must not be the same signature.
  ByteVector malleated = good;
  const ByteVector order =
      *from_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  unsigned carry = 0;
  for (std::size_t i = 0; i < 32; ++i) {
    carry += unsigned{malleated[32 + i]} + order[i];
    malleated[32 + i] = static_cast<std::uint8_t>(carry);
    carry >>= 8U;
  }
  CHECK_FALSE(verifies(key, message, malleated));
}

TEST_CASE("Ed25519 verification: small-order keys and R, in every encoding, verify nothing") {
  // With A of small order and R = s·B − c·A, OpenSSL accepts signatures that nobody made.
  for (const auto& bad : test::kBadPoints) {
    INFO(bad.name);
    const ByteVector point = *from_hex(bad.hex);
    for (std::uint8_t guess = 0; guess < 16; ++guess) {
      const ByteVector message{guess};
      ByteVector signature = point;  // R = A, s = 0: holds when c·A = −A
      signature.resize(64, 0);
      CHECK_FALSE(verify_signature_vartime(Scheme::kEd25519, point, message, signature));
    }
  }
}
