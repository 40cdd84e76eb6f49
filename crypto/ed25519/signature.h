#pragma once
// Plain RFC 8032 signatures, as the outside world verifies them.

#include "crypto/base/bytes.h"

namespace cosigner::ed25519 {

inline constexpr std::size_t kSignatureSize = 64;

/// libsodium's verifier, 35 µs: cofactorless; refuses s ≥ L, keys that are not canonical, and
/// small-order keys and R. What it accepts OpenSSL accepts too, since both compare the encoding
/// of sB − cA with R. Keys and signatures of another length are refused.
[[nodiscard]] bool verify_vartime(ByteView key, ByteView message, ByteView signature);

}  // namespace cosigner::ed25519
