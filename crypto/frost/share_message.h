#pragma once
// FROST round 1 on the wire (the hello was round 0): a signer's share z_i, sent to the assembler
// only.
//
//   view 32 ‖ z 32
//
// The view is a digest of what the signer started with. A share under another set, binding or
// context cannot verify; comparing views first keeps an honest signer, who was told something else,
// from being blamed for a bad share. A view that differs names nobody, for either side may have
// been told the wrong thing.

#include <span>

#include "crypto/base/hash.h"
#include "crypto/base/wire.h"
#include "crypto/frost/suite.h"
#include "crypto/protocol/protocol.h"

namespace cosigner {

[[nodiscard]] Digest frost_view(const Digest& context, const Digest& binding,
                                std::span<const SetMember> set);

template <FrostSuite Suite>
struct FrostShareMessage {
  static constexpr std::uint8_t kRound = 1;
  static constexpr std::size_t kEncodedSize = 64;

  Digest view;
  typename Suite::Group::Scalar z;

  [[nodiscard]] ByteVector encode() const {
    return Writer().fixed(view).fixed(Suite::Group::encode(z)).take();
  }
  /// Range-checked here, before any arithmetic: z < order.
  [[nodiscard]] static Result<FrostShareMessage> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    FrostShareMessage out;
    out.view = reader.take<Digest>();
    const auto z = Suite::Group::decode_scalar(reader.fixed(32));
    if (!z || !reader.finished()) {
      return malformed(from, "a signature share that does not parse");
    }
    out.z = *z;
    return out;
  }
};

}  // namespace cosigner
