#pragma once
// ECDSA signatures as the outside world sees them: verification by public-key recovery in
// libsecp256k1, and the three encodings. All public data, variable time.

#include <optional>

#include "crypto/secp256k1/point.h"

namespace cosigner::secp256k1 {

using MessageDigest = Bytes<32, struct MessageDigestKind>;  ///< what an ECDSA signature signs

/// r ‖ s with s at most (q-1)/2, and what recovers the public key from it.
struct EcdsaSignature {
  Bytes<32> r;
  Bytes<32> s;
  std::uint8_t recovery_id = 0;  ///< 0..3: bit 0 y(R) odd, bit 1 x(R) ≥ q

  /// r ‖ s ‖ recovery id: the form in which protocols hand signatures on.
  static constexpr std::size_t kEncodedSize = 65;
  [[nodiscard]] ByteVector encode() const;
  [[nodiscard]] static std::optional<EcdsaSignature> decode(ByteView bytes);
  /// DER SEQUENCE of two INTEGERs, 70 to 72 bytes mostly.
  [[nodiscard]] ByteVector der() const;
  friend bool operator==(const EcdsaSignature&, const EcdsaSignature&) = default;
};

[[nodiscard]] std::optional<Point> ecdsa_recover_vartime(const MessageDigest& digest,
                                                         const EcdsaSignature& signature);
/// The signature is well-formed with low s, and recovers exactly `key`.
[[nodiscard]] bool recovers_vartime(const EcdsaSignature& signature, const MessageDigest& digest,
                                    const Point& key);

}  // namespace cosigner::secp256k1
