#include "crypto/dkg/transcript.h"

#include <cassert>

namespace cosigner {
namespace {

void add_list(TaggedHash& hash, std::span<const ByteVector> list) {
  hash.part_u16(static_cast<std::uint16_t>(list.size()));
  for (const ByteVector& entry : list) {
    hash.part(entry);
  }
}

}  // namespace

Digest dkg_sid(const KeygenParameters& parameters, const Digest& binding,
               std::span<const SetMember> set) {
  TaggedHash hash(tag::kDkgSid);
  hash.part(parameters.context)
      .part(binding)
      .part_u8(static_cast<std::uint8_t>(parameters.scheme))
      .part_u16(parameters.threshold)
      .part_u16(static_cast<std::uint16_t>(set.size()));
  for (const SetMember& member : set) {
    hash.part_u16(member.index).part(member.hello);
  }
  return hash.finish();
}

Digest dkg_echo(const Digest& sid, std::uint8_t round,
                std::span<const ParticipantIndex> participants,
                std::span<const ByteVector> broadcasts) {
  assert(participants.size() == broadcasts.size());
  TaggedHash hash(tag::kDkgEcho);
  hash.part(sid).part_u8(round);
  for (std::size_t k = 0; k < participants.size(); ++k) {
    hash.part_u16(participants[k]).part(broadcasts[k]);
  }
  return hash.finish();
}

Digest dkg_commitment(const KeygenParameters& parameters, ParticipantIndex dealer,
                      std::span<const ByteVector> encoded_vector, const Bytes<32>& chain_code_share,
                      const Bytes<32>& blinding) {
  TaggedHash hash(tag::kDkgCommitment);
  hash.part(parameters.context)
      .part_u8(static_cast<std::uint8_t>(parameters.scheme))
      .part_u16(dealer);
  add_list(hash, encoded_vector);
  return hash.part(chain_code_share).part(blinding).finish();
}

Digest dkg_aggregate(const Digest& sid, std::span<const ByteVector> encoded_vector) {
  TaggedHash hash(tag::kDkgAggregate);
  hash.part(sid);
  add_list(hash, encoded_vector);
  return hash.finish();
}

Digest dkg_chain_code(const Digest& sid, std::span<const Bytes<32>> shares) {
  TaggedHash hash(tag::kDkgChainCode);
  hash.part(sid);
  for (const Bytes<32>& share : shares) {
    hash.part(share);
  }
  return hash.finish();
}

Digest dkg_transcript(const Digest& sid, std::span<const ByteVector> openings,
                      std::span<const ByteVector> deals,
                      std::span<const ByteVector> encoded_public_shares, const Digest& chain_code) {
  TaggedHash hash(tag::kDkgTranscript);
  hash.part(sid);
  add_list(hash, openings);
  add_list(hash, deals);
  add_list(hash, encoded_public_shares);
  return hash.part(chain_code).finish();
}

TaggedHash dkg_coefficient_statement(const Digest& sid, ParticipantIndex dealer,
                                     std::size_t coefficient) {
  TaggedHash hash(tag::kDkgCoefficientProof);
  hash.part(sid).part_u16(dealer).part_u16(static_cast<std::uint16_t>(coefficient));
  return hash;
}

TaggedHash dkg_share_statement(const Digest& sid, const Digest& transcript,
                               ParticipantIndex owner) {
  TaggedHash hash(tag::kDkgShareProof);
  hash.part(sid).part(transcript).part_u16(owner);
  return hash;
}

}  // namespace cosigner
