// BIP-340's parity rule in the FROST engine, without secp256k1: a toy suite over Ed25519 in which a
// point with the encoding's sign bit counts as its negative. All four combinations of the signs of
// P and R must come up and verify, and culprits must still be found.
#include <catch2/catch.hpp>

#include "crypto/ed25519/group.h"
#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/session.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;

namespace {

struct ToyEvenSuite {
  using Group = Ed25519Group;
  using PointBytes = Bytes<32>;

  static ed25519::SecretScalar nonce(const SecretBytes<32>& randomness,
                                     const ed25519::SecretScalar& share) {
    return FrostEd25519::nonce(randomness, share);
  }
  static Bytes<64> hash_message(ByteView m) { return FrostEd25519::hash_message(m); }
  static Bytes<64> hash_commitments(ByteView l) { return FrostEd25519::hash_commitments(l); }
  static ed25519::Scalar binding_factor(ByteView prefix, ByteView id) {
    return FrostEd25519::binding_factor(prefix, id);
  }
  static bool negated(const PointBytes& point) { return (point.data[31] & 0x80U) != 0; }
  static PointBytes evened(const PointBytes& point) {
    PointBytes out = point;
    out.data[31] &= 0x7fU;
    return out;
  }
  static ed25519::Scalar challenge(ByteView r, ByteView p, ByteView m) {
    return FrostEd25519::challenge(evened(*PointBytes::from(r)), evened(*PointBytes::from(p)), m);
  }
  static ByteVector encode_signature(ByteView r, const ed25519::Scalar& z) {
    return FrostEd25519::encode_signature(evened(*PointBytes::from(r)), z);
  }
  static bool verify_vartime(ByteView key, ByteView message, ByteView signature) {
    return FrostEd25519::verify_vartime(evened(*PointBytes::from(key)), message, signature);
  }
};
static_assert(FrostSuite<ToyEvenSuite>);

using Session = FrostSession<ToyEvenSuite>;

}  // namespace

TEST_CASE("FROST parity: signs of key and nonce in all four combinations") {
  SeededRandom random(51);
  std::array<int, 4> seen{};
  for (int attempt = 0; attempt < 40; ++attempt) {
    // 2 of 3 by a trusted dealer: s_i = a + b·i, signers 1 and 3.
    const auto a = ed25519::SecretScalar::random(random);
    const auto b = ed25519::SecretScalar::random(random);
    const auto share = [&](std::uint64_t i) { return a + b * Ed25519Group::scalar(i); };
    const auto key = Ed25519Group::multiply_base(a)->encode();
    const ByteVector message{1, 2, 3};
    auto nonce1 = FrostNonce<ToyEvenSuite>::generate(share(1), random);
    auto nonce3 = FrostNonce<ToyEvenSuite>::generate(share(3), random);
    const std::vector<Session::Signer> signers{{1, nonce1.commitments()},
                                               {3, nonce3.commitments()}};
    auto one = Session::sign(key, signers, message, 1, share(1), std::move(nonce1));
    auto three = Session::sign(key, signers, message, 3, share(3), std::move(nonce3));
    REQUIRE(one);
    REQUIRE(three);
    const auto public_share = [&](ParticipantIndex i) {
      return Ed25519Group::multiply_base(share(i));
    };
    std::array shares{Session::SignatureShare{1, one->z}, Session::SignatureShare{3, three->z}};
    CHECK(one->session.share_is_valid_vartime(shares[0], *public_share(1)));
    CHECK(one->session.share_is_valid_vartime(shares[1], *public_share(3)));
    CHECK(one->session.aggregate(shares, message, public_share));
    const bool key_odd = ToyEvenSuite::negated(key);
    const bool nonce_odd = ToyEvenSuite::negated(one->session.group_commitment());
    ++seen[(key_odd ? 2U : 0U) + (nonce_odd ? 1U : 0U)];
    shares[1].z = shares[1].z + Ed25519Group::scalar(1);
    const auto failed = one->session.aggregate(shares, message, public_share);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().culprits == std::vector<ParticipantIndex>{3});
  }
  for (const int count : seen) {
    CHECK(count > 0);
  }
}
