#pragma once
// Short-lived certificates of workers and gateways, signed by their node's identity key. A worker's
// certificate speaks for one user on one node in one generation; a gateway's carries no user
// authority.

#include <cstdint>
#include <string>

#include "crypto/base/bytes.h"
#include "crypto/identity/checked.h"
#include "crypto/identity/ed25519_key.h"

namespace cosigner {

enum class CertificateRole : std::uint8_t { kWorker = 1, kGateway = 2 };

inline constexpr std::uint64_t kCertificateLifetimeSeconds = 3600;
/// Clocks of two nodes may differ by this much before certificates are refused.
inline constexpr std::uint64_t kCertificateSkewSeconds = 300;

struct Certificate {
  std::string cluster;
  std::string node;
  CertificateRole role = CertificateRole::kWorker;
  std::string user;  ///< empty for a gateway
  std::uint64_t generation = 0;
  X25519PublicKey x25519;  ///< zero for a gateway
  Ed25519PublicKey ed25519;
  std::uint64_t not_before = 0;  ///< seconds since 1970
  std::uint64_t not_after = 0;   ///< seconds since 1970; > not_before
  Ed25519Signature signature;

  friend bool operator==(const Certificate&, const Certificate&) = default;
};

/// H(kCertificate; cluster, node, u8 role, user, u64 generation, x25519, ed25519, u64 not_before,
/// u64 not_after): what the signature is over.
[[nodiscard]] Digest certificate_digest(const Certificate& certificate);
/// Sets `signature`.
void sign_certificate(Certificate& certificate, const IdentityKey& identity);

[[nodiscard]] ByteVector encode_certificate(const Certificate& certificate);
/// Strict: known role, a user exactly for workers, ordered validity, bounded texts, nothing left
/// over. Does not verify.
[[nodiscard]] Checked<Certificate> decode_certificate(ByteView bytes);

/// Signature by `identity` and validity at `now_seconds` (± kCertificateSkewSeconds). The caller
/// compares cluster, node, role, user and generation with what it expects, or uses the next one.
[[nodiscard]] Checked<void> verify_certificate(const Certificate& certificate,
                                               const Ed25519PublicKey& identity,
                                               std::uint64_t now_seconds);

/// What a receiver knows about a sender before it looks at the certificate.
struct ExpectedHolder {
  std::string_view cluster;
  std::string_view node;
  CertificateRole role = CertificateRole::kWorker;
  std::string_view user;  ///< empty for a gateway
};
/// decode, compare with `expected`, verify: the whole check of a certificate that came by wire.
[[nodiscard]] Checked<Certificate> open_certificate(ByteView bytes, const ExpectedHolder& expected,
                                                    const Ed25519PublicKey& identity,
                                                    std::uint64_t now_seconds);

}  // namespace cosigner
