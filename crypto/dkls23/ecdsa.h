#pragma once
// Threshold ECDSA as Protocols: key generation, signing, presigning, signing with a presignature,
// and the renewal of one pair's OT state. make_keygen() and make_sign() (crypto/protocol) lead here
// as well. `random` must outlive the protocol: rounds draw from it.

#include <memory>
#include <vector>

#include "crypto/bip32/derivation.h"
#include "crypto/dkls23/presignature.h"
#include "crypto/protocol/protocol.h"

namespace cosigner::dkls23 {

[[nodiscard]] Result<std::unique_ptr<Protocol>> make_keygen(const KeygenParameters& parameters,
                                                            Random& random);

/// Signs parameters.message (a 32-byte digest) for the key at parameters.path.
///   hello    nonce ‖ com(R_i)
///   round 1  VOLE receiver → sender, to each: OT extension
///   round 2  to each: opening of R_i, VOLE answer
///   round 3  signer → assembler: (w_i, u_i)
/// The outcome (65 bytes: r ‖ s ‖ recovery id) is the assembler's.
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_sign(SignParameters parameters,
                                                          Random& random);

/// The first two rounds of signing, without a message, at every signer.
class PresignProtocol : public Protocol {
 public:
  /// Set once, when this participant is done. There is no Outcome.
  [[nodiscard]] virtual std::optional<Presignature> take_presignature() = 0;
};
/// parameters.message and path must be empty; the assembler is any member.
[[nodiscard]] Result<std::unique_ptr<PresignProtocol>> make_presign(SignParameters parameters,
                                                                    Random& random);

/// Signs with a presignature of the same key, epoch and set: one round. Taking it is final:
/// whatever becomes of this protocol, the presignature is spent. `nonce` is fresh randomness.
///   hello    presigned_hello(): presignature id ‖ fresh nonce
///   round 1  signer → assembler: (w_i, u_i)
/// Signers that hold different presignatures end recoverably, at the cost of those.
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_presigned_sign(SignParameters parameters,
                                                                    Presignature presignature,
                                                                    const Bytes<32>& nonce);
inline constexpr std::size_t kPresignedHelloBytes = 64;
/// For a rendezvous that learns which presignature it is only after the nonces were sent: both
/// parts of this hello are public, so whoever names the presignature can put it together.
[[nodiscard]] ByteVector presigned_hello(const Digest& presignature, const Bytes<32>& nonce);

struct RenewalParameters {
  PublicKeyRecord record;
  ByteView secret;  ///< this participant's key secret; read during construction only
  Digest context;   ///< binds cluster, user, key, epoch, session and attempt
  ParticipantIndex self = 0;
  ParticipantIndex peer = 0;
};
/// New base OT, PPRF and zero seed with one peer, both of them taking part: three rounds, 35 ms of
/// work. The outcome is a KeyOutcome with the same record and the new secret, at both.
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_renewal(RenewalParameters parameters,
                                                             Random& random);

}  // namespace cosigner::dkls23
