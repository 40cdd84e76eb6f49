#pragma once
// The message-independent result of the multiplication, and what becomes of it: a signature share,
// then a signature. (DKLs23 protocol 3.6; presigning with the re-randomisation that additive key
// derivation needs, Groth and Shoup, ePrint 2021/1330.)
//
// With φ = Σφ_i: Σu_i = r·φ and Σv_i = sk·φ, so s = Σw_i / Σu_i for w_i = m·φ_i + r_x·v_i.

#include <span>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/protocol/protocol.h"
#include "crypto/secp256k1/ecdsa.h"

namespace cosigner::dkls23 {

/// What a presignature is made for: a key in one epoch (each has a transcript of its own).
[[nodiscard]] Digest presigned_key(const PublicKeyRecord& record);

/// One participant's part of one nonce. Move-only and not serialisable: it lives in one process's
/// memory and is consumed by the one share made from it. Two shares from one presignature would
/// hand out the key, which is why nothing gives it back.
class Presignature {
 public:
  Presignature(const Digest& id, std::vector<ParticipantIndex> signers,
               const secp256k1::Point& nonce, secp256k1::SecretScalar u, secp256k1::SecretScalar v,
               secp256k1::SecretScalar phi, const Digest& key = {})
      : id_(id),
        signers_(std::move(signers)),
        nonce_(nonce),
        u_(std::move(u)),
        v_(std::move(v)),
        phi_(std::move(phi)),
        key_(key) {}
  Presignature(Presignature&&) = default;
  Presignature& operator=(Presignature&&) = default;

  /// The same at every signer, and nowhere else.
  [[nodiscard]] const Digest& id() const { return id_; }
  /// Exactly t, sorted: it serves this set only.
  [[nodiscard]] const std::vector<ParticipantIndex>& signers() const { return signers_; }
  /// presigned_key() of the key it serves; zero serves none.
  [[nodiscard]] const Digest& key() const { return key_; }
  /// R = r·G before re-randomisation.
  [[nodiscard]] const secp256k1::Point& nonce() const { return nonce_; }

 private:
  friend struct SignatureShare;
  Digest id_;
  std::vector<ParticipantIndex> signers_;
  secp256k1::Point nonce_;
  secp256k1::SecretScalar u_;
  secp256k1::SecretScalar v_;
  secp256k1::SecretScalar phi_;
  Digest key_;
};

/// The last message of a signer: (w_i, u_i), 64 bytes.
struct SignatureShare {
  static constexpr std::size_t kEncodedSize = 64;
  secp256k1::Scalar w;
  secp256k1::Scalar u;

  void write(ByteVector& out) const;
  [[nodiscard]] static std::optional<SignatureShare> decode(ByteView bytes);

  /// Consumes the presignature. `tweak` (τ) is what the key signed for exceeds the key the
  /// presignature was made with, `shift` (δ) re-randomises the nonce; zero for neither.
  /// `nonce_x` is x(R + δG).
  [[nodiscard]] static SignatureShare make(Presignature presignature,
                                           const secp256k1::MessageDigest& digest,
                                           const secp256k1::Scalar& tweak,
                                           const secp256k1::Scalar& shift,
                                           const secp256k1::Scalar& nonce_x);
};

/// R as a signature uses it.
struct NoncePoint {
  secp256k1::Scalar x;        ///< x(R) mod q, not zero
  bool x_overflowed = false;  ///< x(R) ≥ q
  bool y_odd = false;
};
/// Nothing when x(R) ≡ 0 mod q.
[[nodiscard]] std::optional<NoncePoint> nonce_point(const secp256k1::Point& nonce);
/// The same from a compressed encoding, for tests of x(R) ≥ q, which no known point reaches.
[[nodiscard]] std::optional<NoncePoint> nonce_point(const Bytes<33>& nonce);

/// s = Σw/Σu with s at most (q−1)/2, and the recovery id. Nothing when Σu or s is zero.
[[nodiscard]] std::optional<secp256k1::EcdsaSignature> combine_shares(
    const NoncePoint& nonce, std::span<const SignatureShare> shares);

/// combine_shares(), then the signature is verified under `key` by recovering it. A failure names
/// nobody: that is all that can be said.
[[nodiscard]] Result<secp256k1::EcdsaSignature> assemble(const secp256k1::Point& nonce,
                                                         std::span<const SignatureShare> shares,
                                                         const secp256k1::MessageDigest& digest,
                                                         const secp256k1::Point& key);

}  // namespace cosigner::dkls23
