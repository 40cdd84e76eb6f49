#pragma once
// KeyOutcome::secret: one encoding for all schemes, version ‖ index ‖ share ‖ scheme's own state.
// FROST schemes have no state of their own; ECDSA appends its pairwise OT material.

#include <optional>

#include "crypto/base/abort.h"
#include "crypto/base/wire.h"
#include "crypto/protocol/group.h"

namespace cosigner {

template <ThresholdGroup Group>
struct KeyShare {
  static constexpr std::uint8_t kVersion = 1;
  static constexpr std::size_t kFixedSize = 1 + 2 + 32;

  ParticipantIndex index = 0;
  typename Group::SecretScalar share;  ///< s_i = Σ_j f_j(i)
  SecretVector state;                  ///< of the scheme; empty for FROST

  [[nodiscard]] SecretVector encode() const {
    SecretVector out;
    out.reserve(kFixedSize + state.size());
    out.push_back(kVersion);
    out.push_back(static_cast<std::uint8_t>(index >> 8U));
    out.push_back(static_cast<std::uint8_t>(index & 0xffU));
    const SecretBytes<32> bytes = Group::encode(share);
    out.insert(out.end(), bytes.expose().begin(), bytes.expose().end());
    out.insert(out.end(), state.begin(), state.end());
    return out;
  }

  /// Nothing for another version, index 0, or a share that is zero or not below the order.
  [[nodiscard]] static std::optional<KeyShare> decode(ByteView bytes) {
    Reader reader(bytes);
    const std::uint8_t version = reader.u8();
    KeyShare out;
    out.index = reader.u16();
    auto share = Group::decode_secret(reader.fixed(32));
    const ByteView rest = reader.fixed(reader.remaining());
    if (!reader.finished() || version != kVersion || out.index == 0 || !share ||
        Group::is_zero(*share)) {
      return std::nullopt;
    }
    out.share = std::move(*share);
    out.state.assign(rest.begin(), rest.end());
    return out;
  }
};

}  // namespace cosigner
