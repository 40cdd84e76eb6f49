#pragma once
// What a scheme may run beside the common DKG: pairwise payloads that ride in its rounds. ECDSA
// uses it for base OT, PPRF and zero seeds; FROST schemes have none.
//
//   round 1  payload(peer) in clear, beside the opening      (ECDSA: base OT message 1)
//   round 2  payload(peer) encrypted together with the share (base OT message 2, PPRF, zero seed)
//
// The DKG calls in this order, each for all peers ascending; on_round1() only after every peer's
// echo of round 0 and opening have been checked, on_round2() only after every peer's echo of round
// 1 and every share have been checked. So nothing here ever touches a payload before the broadcasts
// it depends on are known to be the same for everyone. An Abort returned from here ends the key
// generation with exactly that Abort.

#include <span>

#include "crypto/base/abort.h"
#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner {

class DkgExtension {
 public:
  virtual ~DkgExtension() = default;

  /// Upper bounds for payloads from one peer, in bytes.
  [[nodiscard]] virtual std::size_t round1_limit() const = 0;
  [[nodiscard]] virtual std::size_t round2_limit() const = 0;

  /// `sid` is fixed: it covers the context and everyone's hello, thus a fresh nonce of ours.
  /// `peers`: sorted, without ourselves.
  [[nodiscard]] virtual Result<void> begin(const Digest& sid, ParticipantIndex self,
                                           std::span<const ParticipantIndex> peers) = 0;
  [[nodiscard]] virtual Result<ByteVector> round1_for(ParticipantIndex peer) = 0;
  [[nodiscard]] virtual Result<void> on_round1(ParticipantIndex peer, ByteView payload) = 0;
  [[nodiscard]] virtual Result<SecretVector> round2_for(ParticipantIndex peer) = 0;
  [[nodiscard]] virtual Result<void> on_round2(ParticipantIndex peer, ByteView payload) = 0;
  /// Everything has been checked by everyone: what goes into KeyShare::state.
  [[nodiscard]] virtual Result<SecretVector> finish() = 0;
};

}  // namespace cosigner
