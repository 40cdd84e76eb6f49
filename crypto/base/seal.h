#pragma once
// The primitives that keep bytes secret between two holders of a key: X25519, HKDF-SHA-256,
// AES-256-GCM (OpenSSL). Everything returns std::nullopt on failure; no failure says more than
// that.

#include <optional>

#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"

namespace cosigner {

using X25519SecretKey = SecretBytes<32>;
using AeadKey = SecretBytes<32>;
using AeadNonce = Bytes<12, struct AeadNonceKind>;
inline constexpr std::size_t kAeadTagSize = 16;

[[nodiscard]] X25519PublicKey x25519_public_key(const X25519SecretKey& secret);
/// Nothing when the peer's key is of small order (all-zero result, RFC 7748 §6.1).
[[nodiscard]] std::optional<SecretBytes<32>> x25519(const X25519SecretKey& secret,
                                                    const X25519PublicKey& peer);

/// HKDF (RFC 5869) with SHA-256, filling `out` (at most 8,160 bytes).
void hkdf_sha256(ByteView secret, ByteView salt, ByteView info, std::span<std::uint8_t> out);

/// AES-256-GCM: ciphertext ‖ 16-byte tag. A (key, nonce) pair is used once; the caller sees to it.
[[nodiscard]] ByteVector aead_seal(const AeadKey& key, const AeadNonce& nonce, ByteView associated,
                                   ByteView plain);
[[nodiscard]] std::optional<SecretVector> aead_open(const AeadKey& key, const AeadNonce& nonce,
                                                    ByteView associated, ByteView sealed);

}  // namespace cosigner
