// RFC 9591 appendix E.1, FROST(Ed25519, SHA-512): 2 of 3, participants 1 and 3, message "test".
#include <algorithm>
#include <catch2/catch.hpp>

#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/session.h"

using namespace cosigner;
using Session = FrostSession<FrostEd25519>;
using Nonce = FrostNonce<FrostEd25519>;

namespace {

struct Participant {
  ParticipantIndex index;
  std::string_view share;
  std::string_view hiding_randomness, binding_randomness;
  std::string_view hiding_nonce, binding_nonce;
  std::string_view hiding_commitment, binding_commitment;
  std::string_view binding_factor;
  std::string_view signature_share;
};

constexpr std::string_view kPublicKey =
    "15d21ccd7ee42959562fc8aa63224c8851fb3ec85a3faf66040d380fb9738673";
constexpr std::string_view kSignature =
    "36282629c383bb820a88b71cae937d41f2f2adfcc3d02e55507e2fb9e2dd3cbe"
    "bd9d2b0844e49ae0f3fa935161e1419aab7b47d21a37ebeae1f17d4987b3160b";
constexpr std::string_view kMessage = "74657374";

constexpr std::array kParticipants{
    Participant{1, "929dcc590407aae7d388761cddb0c0db6f5627aea8e217f4a033f2ec83d93509",
                "0fd2e39e111cdc266f6c0f4d0fd45c947761f1f5d3cb583dfcb9bbaf8d4c9fec",
                "69cd85f631d5f7f2721ed5e40519b1366f340a87c2f6856363dbdcda348a7501",
                "812d6104142944d5a55924de6d49940956206909f2acaeedecda2b726e630407",
                "b1110165fc2334149750b28dd813a39244f315cff14d4e89e6142f262ed83301",
                "b5aa8ab305882a6fc69cbee9327e5a45e54c08af61ae77cb8207be3d2ce13de3",
                "67e98ab55aa310c3120418e5050c9cf76cf387cb20ac9e4b6fdb6f82a469f932",
                "f2cb9d7dd9beff688da6fcc83fa89046b3479417f47f55600b106760eb3b5603",
                "001719ab5a53ee1a12095cd088fd149702c0720ce5fd2f29dbecf24b7281b603"},
    Participant{3, "d3cb090a075eb154e82fdb4b3cb507f110040905468bb9c46da8bdea643a9a02",
                "86d64a260059e495d0fb4fcc17ea3da7452391baa494d4b00321098ed2a0062f",
                "13e6b25afb2eba51716a9a7d44130c0dbae0004a9ef8d7b5550c8a0e07c61775",
                "c256de65476204095ebdc01bd11dc10e57b36bc96284595b8215222374f99c0e",
                "243d71944d929063bc51205714ae3c2218bd3451d0214dfb5aeec2a90c35180d",
                "cfbdb165bd8aad6eb79deb8d287bcc0ab6658ae57fdcc98ed12c0669e90aec91",
                "7487bc41a6e712eea2f2af24681b58b1cf1da278ea11fe4e8b78398965f13552",
                "b087686bf35a13f3dc78e780a34b0fe8a77fef1b9938c563f5573d71d8d7890f",
                "bd86125de990acc5e1f13781d8e32c03a9bbd4c53539bbc106058bfd14326007"},
};

ByteVector hex(std::string_view text) {
  return from_hex(text).value();
}
ed25519::SecretScalar secret(std::string_view text) {
  return ed25519::SecretScalar::decode(hex(text)).value();
}
Nonce nonce_of(const Participant& p) {
  return Nonce::derive(*SecretBytes<32>::from(hex(p.hiding_randomness)),
                       *SecretBytes<32>::from(hex(p.binding_randomness)), secret(p.share))
      .value();
}
std::vector<Session::Signer> signers() {
  std::vector<Session::Signer> out;
  for (const Participant& p : kParticipants) {
    out.push_back({p.index, nonce_of(p).commitments()});
  }
  return out;
}
Bytes<32> public_key() {
  return Bytes<32>::from(hex(kPublicKey)).value();
}

}  // namespace

TEST_CASE("RFC 9591 Ed25519: nonces and commitments bit for bit") {
  for (const Participant& p : kParticipants) {
    const auto d =
        FrostEd25519::nonce(*SecretBytes<32>::from(hex(p.hiding_randomness)), secret(p.share));
    const auto e =
        FrostEd25519::nonce(*SecretBytes<32>::from(hex(p.binding_randomness)), secret(p.share));
    CHECK(to_hex(d.expose()) == p.hiding_nonce);
    CHECK(to_hex(e.expose()) == p.binding_nonce);
    CHECK(to_hex(nonce_of(p).commitments().hiding) == p.hiding_commitment);
    CHECK(to_hex(nonce_of(p).commitments().binding) == p.binding_commitment);
  }
}

TEST_CASE("RFC 9591 Ed25519: binding factors, signature shares and signature bit for bit") {
  std::vector<Session::SignatureShare> shares;
  for (const Participant& p : kParticipants) {
    auto result = Session::sign(public_key(), signers(), hex(kMessage), p.index, secret(p.share),
                                nonce_of(p));
    REQUIRE(result);
    for (const Participant& other : kParticipants) {
      CHECK(to_hex(result->session.binding_factor(other.index).view()) == other.binding_factor);
    }
    CHECK(to_hex(result->z.view()) == p.signature_share);
    shares.push_back({p.index, result->z});
  }
  const auto observer = Session::observe(public_key(), signers(), hex(kMessage));
  REQUIRE(observer);
  for (std::size_t k = 0; k < shares.size(); ++k) {
    const auto public_share = Ed25519Group::multiply_base(secret(kParticipants[k].share));
    CHECK(observer->share_is_valid_vartime(shares[k], *public_share));
  }
  const auto signature = observer->aggregate(
      shares, hex(kMessage), [](ParticipantIndex) { return std::optional<ed25519::Point>(); });
  REQUIRE(signature);
  CHECK(to_hex(*signature) == kSignature);
}

TEST_CASE("FROST: a nonce that has signed leaves nothing of itself in memory") {
  const Participant& p = kParticipants[0];
  const auto d = hex(p.hiding_nonce);
  const auto e = hex(p.binding_nonce);
  alignas(Nonce) std::array<std::uint8_t, sizeof(Nonce)> memory{};
  const auto contains = [&](const ByteVector& secret) {
    return std::search(memory.begin(), memory.end(), secret.begin(), secret.end()) != memory.end();
  };
  auto* nonce = new (memory.data()) Nonce(nonce_of(p));
  CHECK(contains(d));
  CHECK(contains(e));
  REQUIRE(Session::sign(public_key(), signers(), hex(kMessage), p.index, secret(p.share),
                        std::move(*nonce)));
  CHECK_FALSE(contains(d));
  CHECK_FALSE(contains(e));
  nonce->~FrostNonce();
}
