#pragma once
// FROST round 1 on the wire (the hello was round 0): a signer's share z_i, sent to the assembler
// only. 32 bytes.

#include "crypto/base/abort.h"
#include "crypto/base/wire.h"
#include "crypto/frost/suite.h"

namespace cosigner {

template <FrostSuite Suite>
struct FrostShareMessage {
  static constexpr std::uint8_t kRound = 1;
  static constexpr std::size_t kEncodedSize = 32;

  typename Suite::Group::Scalar z;

  [[nodiscard]] ByteVector encode() const { return Writer().fixed(Suite::Group::encode(z)).take(); }
  /// Range-checked here, before any arithmetic: z < order.
  [[nodiscard]] static Result<FrostShareMessage> decode(ByteView bytes, ParticipantIndex from) {
    const auto z = Suite::Group::decode_scalar(bytes);
    if (!z) {
      return malformed(from, "a signature share that is no canonical scalar");
    }
    return FrostShareMessage{*z};
  }
};

}  // namespace cosigner
