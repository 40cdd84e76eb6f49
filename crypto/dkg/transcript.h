#pragma once
// The hashes that tie a key generation together. Lists are over all participants in the order of
// their indices.

#include <span>
#include <vector>

#include "crypto/base/hash.h"
#include "crypto/protocol/protocol.h"

namespace cosigner {

/// sid: over the context (protocol, cluster, n, t, identities, key, epoch, session), the
/// rendezvous' digest, scheme, threshold, and everyone's hello. Every later hash starts from it.
[[nodiscard]] Digest dkg_sid(const KeygenParameters& parameters, const Digest& binding,
                             std::span<const SetMember> set);

/// Of the broadcast parts of one round as somebody saw them.
[[nodiscard]] Digest dkg_echo(const Digest& sid, std::uint8_t round,
                              std::span<const ParticipantIndex> participants,
                              std::span<const ByteVector> broadcasts);

/// What the hello commits to. Bound to context and index, so that nobody can commit with another's
/// commitment; the session id does not exist yet.
[[nodiscard]] Digest dkg_commitment(const KeygenParameters& parameters, ParticipantIndex dealer,
                                    std::span<const ByteVector> encoded_vector,
                                    const Bytes<32>& chain_code_share, const Bytes<32>& blinding);

[[nodiscard]] Digest dkg_aggregate(const Digest& sid, std::span<const ByteVector> encoded_vector);

[[nodiscard]] Digest dkg_chain_code(const Digest& sid, std::span<const Bytes<32>> shares);

/// T: sid (thus context and hellos), the openings, the deals (thus the hashes of all ciphertexts),
/// all S_i, and the chain code.
[[nodiscard]] Digest dkg_transcript(const Digest& sid, std::span<const ByteVector> openings,
                                    std::span<const ByteVector> deals,
                                    std::span<const ByteVector> encoded_public_shares,
                                    const Digest& chain_code);

/// What the proofs of knowledge are bound to, before the point and the nonce commitment.
[[nodiscard]] TaggedHash dkg_coefficient_statement(const Digest& sid, ParticipantIndex dealer,
                                                   std::size_t coefficient);
[[nodiscard]] TaggedHash dkg_share_statement(const Digest& sid, const Digest& transcript,
                                             ParticipantIndex owner);

}  // namespace cosigner
