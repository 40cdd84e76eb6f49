#pragma once
// From λ_c base OTs to λ_c/k all-but-one OTs of 2^k leaves (SoftSpoken, ePrint 2022/192, figures 13
// and 14): the builder knows a small GGM tree for each group, the evaluator every leaf but one.
// Level 0 is the most significant bit of a leaf's index. A failed check means that the builder
// cheated in its base OT; it leaks bits of Δ, so the whole set-up is thrown away.

#include <expected>
#include <span>
#include <vector>

#include "crypto/dkls23/base_ot.h"
#include "crypto/dkls23/parameters.h"

namespace cosigner::dkls23 {

/// Per group: 2·(k−1) corrections of 16 bytes, then s̃ and t̃ of 32 bytes each.
inline constexpr std::size_t kPprfGroupBytes = 2 * (kGroupBits - 1) * kSeedBytes + 64;
inline constexpr std::size_t kPprfMessageBytes = kGroups * kPprfGroupBytes;  ///< 6,144

struct PprfBuilt {
  ByteVector message;
  ReceiverState state;
};
/// The builder's side: the base OT's sender, later the VOLE receiver.
[[nodiscard]] PprfBuilt pprf_build(const Digest& sid, std::span<const std::array<OtKey, 2>> keys);

/// The evaluator's side: the base OT's chooser, later the VOLE sender.
[[nodiscard]] std::expected<SenderState, Refusal> pprf_evaluate(const Digest& sid, ByteView choices,
                                                                std::span<const OtKey> keys,
                                                                ByteView message);

}  // namespace cosigner::dkls23
