#pragma once
// DKG round 3, to everyone: either a confirmation or a complaint.
//
//   1 ‖ transcript 32 ‖ S_i ‖ proof
//   2 ‖ view 32 ‖ encryption secret 32 ‖ u16 count ‖ count × (u16 dealer ‖ u32 length ‖ ciphertext)
//
// A complaint reveals the accuser's encryption key of this key generation, which is lost anyhow, so
// that everyone can open the ciphertexts in question and decide between dealer and accuser.

#include <variant>
#include <vector>

#include "crypto/base/seal.h"
#include "crypto/dkg/schnorr_proof.h"

namespace cosigner {

template <ThresholdGroup Group>
struct DkgConfirmation {
  static constexpr std::uint8_t kKind = 1;

  Digest transcript;                   ///< T
  typename Group::Point public_share;  ///< S_i = s_i·G
  SchnorrProof<Group> proof;           ///< of s_i, bound to session and transcript

  [[nodiscard]] ByteVector encode() const {
    Writer writer;
    writer.u8(kKind).fixed(transcript).fixed(Group::encode(public_share));
    proof.write(writer);
    return writer.take();
  }
};

struct DkgComplaint {
  static constexpr std::uint8_t kKind = 2;

  struct Accusation {
    ParticipantIndex dealer = 0;
    ByteVector ciphertext;  ///< as the accuser got it from the dealer
  };

  Digest view;                          ///< echo of round 2 as the accuser saw it
  X25519SecretKey key;                  ///< the accuser's
  std::vector<Accusation> accusations;  ///< at least one, dealers ascending

  [[nodiscard]] ByteVector encode() const {
    Writer writer;
    writer.u8(kKind).fixed(view).fixed(key.expose());
    writer.u16(static_cast<std::uint16_t>(accusations.size()));
    for (const Accusation& accusation : accusations) {
      writer.u16(accusation.dealer).bytes(accusation.ciphertext);
    }
    return writer.take();
  }
};

template <ThresholdGroup Group>
using DkgVerdict = std::variant<DkgConfirmation<Group>, DkgComplaint>;

/// `peers`: how many dealers the accuser has at most.
template <ThresholdGroup Group>
[[nodiscard]] Result<DkgVerdict<Group>> decode_dkg_verdict(ByteView bytes, std::size_t peers,
                                                           ParticipantIndex from) {
  Reader reader(bytes);
  const std::uint8_t kind = reader.u8();
  if (kind == DkgConfirmation<Group>::kKind) {
    const auto transcript = reader.take<Digest>();
    auto public_share = Group::decode_point(reader.fixed(Group::kPointSize));
    auto proof = SchnorrProof<Group>::read(reader);
    if (!public_share || !reader.finished()) {
      return malformed(from, "a confirmation that does not parse");
    }
    return DkgConfirmation<Group>{transcript, std::move(*public_share), std::move(proof)};
  }
  if (kind != DkgComplaint::kKind) {
    return malformed(from, "neither a confirmation nor a complaint");
  }
  DkgComplaint out;
  out.view = reader.take<Digest>();
  out.key = X25519SecretKey::from(reader.fixed(32)).value_or(X25519SecretKey());
  ParticipantIndex previous = 0;
  for (std::size_t k = reader.count_u16(1, peers); k > 0; --k) {
    DkgComplaint::Accusation accusation;
    accusation.dealer = reader.u16();
    accusation.ciphertext = to_vector(reader.bytes(bytes.size()));
    if (accusation.dealer <= previous || accusation.dealer == from) {
      reader.fail();
    }
    previous = accusation.dealer;
    out.accusations.push_back(std::move(accusation));
  }
  if (!reader.finished()) {
    return malformed(from, "a complaint that does not parse");
  }
  return out;
}

}  // namespace cosigner
