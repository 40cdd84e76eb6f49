#pragma once
// The parameters of DKLs23 as we run it. Nothing here is negotiated: one version byte selects them
// all. Two-party pieces are named after their part in the random VOLE: the sender (Alice) puts in
// two scalars and holds Δ, the receiver (Bob) puts in random bits β.

#include <cstddef>
#include <cstdint>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner::dkls23 {

/// Goes into every session id of these protocols and heads the stored OT state.
inline constexpr std::uint8_t kVersion = 1;

inline constexpr std::size_t kLambda = 128;      ///< λ_c: base OTs, and bits of a column
inline constexpr std::size_t kStatistical = 80;  ///< λ_s
inline constexpr std::size_t kOtCount = 256 + 2 * kStatistical;  ///< ξ: OTs of one VOLE, 416
inline constexpr std::size_t kGroupBits = 2;                     ///< k of SoftSpoken
inline constexpr std::size_t kGroupSize = 1U << kGroupBits;      ///< leaves of a group
inline constexpr std::size_t kGroups = kLambda / kGroupBits;
inline constexpr std::size_t kCheckBits = 128;                   ///< S: the check's field
inline constexpr std::size_t kExtended = kOtCount + kCheckBits;  ///< ξ': columns with the padding
inline constexpr std::size_t kCheckBlocks = (kOtCount + kCheckBits - 1) / kCheckBits;  ///< M
inline constexpr std::size_t kWidth = 3;       ///< scalars of one OT: two inputs and one check
inline constexpr std::size_t kSeedBytes = 16;  ///< an OT key, a GGM node

inline constexpr std::size_t kRowBytes = kExtended / 8;                       ///< 68
inline constexpr std::size_t kBetaBytes = kOtCount / 8;                       ///< 52
inline constexpr std::size_t kColumnBytes = kLambda / 8;                      ///< 16
inline constexpr std::size_t kLeafBytes = kGroups * kGroupSize * kSeedBytes;  ///< 4,096

static_assert(kOtCount % 8 == 0 && kOtCount <= kCheckBlocks * kCheckBits);
static_assert(kLambda % kGroupBits == 0 && kExtended % 8 == 0);
static_assert(kColumnBytes == kSeedBytes, "a column and a seed are both 16 bytes");

/// Why a peer's message was refused. The two must never be mixed up: a failed check has told the
/// peer something about our OT secrets and ends the relationship, a malformed message has not.
enum class Refusal : std::uint8_t {
  kMalformed,    ///< length or encoding; looked at public bytes only
  kCheckFailed,  ///< a consistency check over OT secrets
};

/// What the VOLE sender keeps towards one peer: all leaves but one in each group, and which one is
/// missing.
struct SenderState {
  SecretBytes<kColumnBytes> delta;  ///< bit b of group g at position g·k+b
  SecretBytes<kLeafBytes> leaves;   ///< the missing leaf is zero
};

/// What the VOLE receiver keeps towards one peer: all leaves.
struct ReceiverState {
  SecretBytes<kLeafBytes> leaves;
};

/// Bit i, counted from the least significant bit of the first byte.
inline std::uint8_t bit_of(ByteView bytes, std::size_t i) {
  return static_cast<std::uint8_t>((static_cast<unsigned>(bytes[i / 8]) >> (i % 8)) & 1U);
}

/// 0xff for 1, 0 for 0, hidden from the optimiser.
inline std::uint8_t byte_mask(std::uint8_t bit) {
  std::uint32_t wide = 0U - static_cast<std::uint32_t>(bit);
  asm("" : "+r"(wide));
  return static_cast<std::uint8_t>(wide);
}

/// Little-endian 64-bit words of a 16-byte value: the unit of the masking below.
struct Block {
  std::uint64_t low = 0;
  std::uint64_t high = 0;

  static Block load(const std::uint8_t* bytes) {
    Block out;
    std::memcpy(&out.low, bytes, 8);
    std::memcpy(&out.high, bytes + 8, 8);
    return out;
  }
  void store(std::uint8_t* bytes) const {
    std::memcpy(bytes, &low, 8);
    std::memcpy(bytes + 8, &high, 8);
  }
  friend Block operator^(Block a, Block b) { return {a.low ^ b.low, a.high ^ b.high}; }
  Block& operator^=(Block other) { return *this = *this ^ other; }
  /// The block where `mask` is all ones, zero where it is zero.
  [[nodiscard]] Block masked(std::uint64_t mask) const { return {low & mask, high & mask}; }
};
static_assert(sizeof(Block) == 16);

/// All ones for 1, 0 for 0, hidden from the optimiser.
inline std::uint64_t word_mask(std::uint64_t bit) {
  std::uint64_t mask = 0 - bit;
  asm("" : "+r"(mask));
  return mask;
}
/// All ones when a == b (small numbers), else 0.
inline std::uint64_t equal_mask(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t difference = a ^ b;
  return word_mask(((difference | (0 - difference)) >> 63U) ^ 1U);
}

}  // namespace cosigner::dkls23
