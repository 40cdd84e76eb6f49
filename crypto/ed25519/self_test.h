#pragma once
// A start-up test of the libsodium this process really runs with. CVE-2025-69277: upstream 1.0.18
// accepts points of mixed order (prime-order point + point of order 2) as valid; Debian's
// 1.0.18-1+deb12u1 does not. A program that signs refuses to start when this fails.

#include <functional>
#include <optional>
#include <string>

#include "crypto/base/bytes.h"

namespace cosigner::ed25519 {

/// Says whether 32 bytes are the canonical encoding of a point of prime order.
using PointPredicate = std::function<bool(ByteView)>;

/// Tries a valid point and every class of invalid one on `accepts` (by default Point::decode) and
/// on multiply_encoded_vartime. Returns what is wrong, or nothing when all is well. 1 ms.
[[nodiscard]] std::optional<std::string> self_test();
[[nodiscard]] std::optional<std::string> self_test(const PointPredicate& accepts);

}  // namespace cosigner::ed25519
