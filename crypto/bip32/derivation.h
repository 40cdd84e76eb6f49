#pragma once
// BIP-32 public derivation (CKDpub) for a key nobody holds whole: along a non-hardened path each
// step adds a public tweak to the key, and the sum τ of the tweaks is all that signing needs.
//
// A child's secret key together with the chain code reveals the parent's secret key, so a chain
// code is treated as confidential although nothing here hides it. Hardened steps need the secret
// key itself and are refused.

#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/scheme/scheme.h"
#include "crypto/secp256k1/point.h"

namespace cosigner::bip32 {

inline constexpr std::uint32_t kHardened = 0x80000000;  ///< the first hardened index
inline constexpr std::size_t kMaxDepth = 255;           ///< the depth byte of an extended key

/// Child indices below kHardened, root first.
using Path = std::vector<std::uint32_t>;

/// "m" or "m/44/60/0/0/5": decimal without leading zeros, no hardened step, at most kMaxDepth.
[[nodiscard]] std::optional<Path> parse_path(std::string_view text);
[[nodiscard]] std::string path_text(const Path& path);

struct Derived {
  secp256k1::Point key;
  Digest chain_code;
  secp256k1::Scalar tweak;  ///< τ: key = root + τ·G
};

/// Fails (recoverable) for a hardened index or too deep a path, and with probability 2^-127 a step
/// because the child does not exist. 27 µs a step.
[[nodiscard]] Result<Derived> derive(const secp256k1::Point& root, const Digest& chain_code,
                                     const Path& path);

/// The key at `path` below a secp256k1 key; fails as derive() does, and (recoverable) where the
/// record's public key is no point.
[[nodiscard]] Result<Derived> derive(const PublicKeyRecord& record, const Path& path);

/// The compressed public key at `path` below a compressed public key; fails as derive() does, and
/// for what is no point.
[[nodiscard]] Result<ByteVector> derive_public_key(ByteView root, const Digest& chain_code,
                                                   const Path& path);

/// One step, from the 64 bytes I = HMAC-SHA512(chain code, key ‖ index): for tests of the cases
/// that no known input reaches. Nothing when I_L is the order or more, or the child is the
/// identity.
[[nodiscard]] std::optional<Derived> child_of(const Derived& parent, ByteView hmac);

}  // namespace cosigner::bip32
