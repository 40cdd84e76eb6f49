#pragma once
// FROST(Ed25519, SHA-512), RFC 9591 §6.1. Its signatures are plain RFC 8032 signatures.

#include "crypto/ed25519/group.h"
#include "crypto/ed25519/signature.h"
#include "crypto/frost/suite.h"

namespace cosigner {

struct FrostEd25519 {
  using Group = Ed25519Group;
  static constexpr std::string_view kContext = "FROST-ED25519-SHA512-v1";
  static constexpr std::size_t kSignatureSize = ed25519::kSignatureSize;

  [[nodiscard]] static ed25519::SecretScalar nonce(const SecretBytes<32>& randomness,
                                                   const ed25519::SecretScalar& share);
  [[nodiscard]] static Bytes<64> hash_message(ByteView message);
  [[nodiscard]] static Bytes<64> hash_commitments(ByteView list);
  [[nodiscard]] static ed25519::Scalar binding_factor(ByteView prefix, ByteView identifier);
  /// Without context string: RFC 8032's own challenge.
  [[nodiscard]] static ed25519::Scalar challenge(ByteView commitment, ByteView key,
                                                 ByteView message);
  [[nodiscard]] static bool negated(const Bytes<ed25519::kPointSize>&) { return false; }
  [[nodiscard]] static Bytes<ed25519::kPointSize> evened(const Bytes<ed25519::kPointSize>& point) {
    return point;
  }
  [[nodiscard]] static ByteVector encode_signature(ByteView commitment, const ed25519::Scalar& z);
  /// ed25519::verify_vartime().
  [[nodiscard]] static bool verify_vartime(ByteView key, ByteView message, ByteView signature);
};
static_assert(FrostSuite<FrostEd25519>);

}  // namespace cosigner
