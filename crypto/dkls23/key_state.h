#pragma once
// What an ECDSA key's holder keeps towards its peers, as KeyShare::state: for each peer the OT
// state of both directions and the seed of their zero shares, or the fact that it was erased (a
// burnt pair). And the session ids of pairs.
//
//   version ‖ u16 n−1 ‖ per peer ascending: u16 index ‖ u8 present ‖ [id ‖ Δ ‖ leaves ‖ leaves ‖
//   seed]

#include <map>
#include <optional>
#include <span>

#include "crypto/base/abort.h"
#include "crypto/base/random.h"
#include "crypto/dkls23/parameters.h"

namespace cosigner::dkls23 {

struct PairState {
  static constexpr std::size_t kEncodedSize = 32 + kColumnBytes + 2 * kLeafBytes + 32;  ///< 8,272

  /// Public: names the set-up that made this state. Peers compare it before any OT payload, so that
  /// a renewal that only one of them finished cannot look like an attack.
  Digest id;
  SenderState sender;         ///< for VOLEs in which we put in the scalars
  ReceiverState receiver;     ///< for VOLEs in which the peer does
  SecretBytes<32> zero_seed;  ///< the same on both sides
};

/// A peer without a value has none: its state was erased.
using PairStates = std::map<ParticipantIndex, std::optional<PairState>>;

[[nodiscard]] SecretVector encode_states(const PairStates& states);
/// Only the states of `wanted` (sorted) are copied; nothing when the encoding is damaged. A peer
/// that is missing or erased is simply not in the result.
[[nodiscard]] std::optional<std::map<ParticipantIndex, PairState>> decode_states(
    ByteView encoded, std::span<const ParticipantIndex> wanted);

/// The key secret (KeyOutcome::secret) without the OT state towards `peer`: what is left after a
/// burn. Nothing when the secret is damaged or knows no such peer.
[[nodiscard]] std::optional<SecretVector> erase_pair(ByteView key_secret, ParticipantIndex peer);
/// The key secret with the state towards `peer` replaced, after a renewal.
[[nodiscard]] std::optional<SecretVector> replace_pair(ByteView key_secret, ParticipantIndex peer,
                                                       PairState state);
/// The key secret `current` with the state towards `peer` taken from `renewed`, the secret that a
/// renewal ended with: what else has changed in the meantime stays. Nothing when either is damaged,
/// another participant's, or holds no such state.
[[nodiscard]] std::optional<SecretVector> adopt_pair(ByteView current, ByteView renewed,
                                                     ParticipantIndex peer);
/// The peers whose state the key secret still holds, ascending, each with its set-up's public id.
[[nodiscard]] std::vector<std::pair<ParticipantIndex, Digest>> pair_ids(ByteView key_secret);

/// The session id of one pair and direction, `sender` being the VOLE sender: no two pairs or
/// directions of a session share one.
[[nodiscard]] Digest direction_sid(const Digest& sid, ParticipantIndex sender,
                                   ParticipantIndex receiver);
/// The id of a pair's set-up, the same on both sides.
[[nodiscard]] Digest pair_id(const Digest& sid, ParticipantIndex a, ParticipantIndex b);

}  // namespace cosigner::dkls23
