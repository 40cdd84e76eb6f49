#pragma once
// The frame of DKG rounds 1 and 2: one payload for each receiver that holds a part which is the
// same for all (echoed in the next round) and a part for this receiver alone.

#include "crypto/base/abort.h"
#include "crypto/base/wire.h"

namespace cosigner {

struct DkgRoundMessage {
  ByteView broadcast;  ///< points into the payload
  ByteView direct;

  [[nodiscard]] static ByteVector encode(ByteView broadcast, ByteView direct) {
    return Writer().bytes(broadcast).bytes(direct).take();
  }
  [[nodiscard]] static Result<DkgRoundMessage> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    DkgRoundMessage out;
    out.broadcast = reader.bytes(bytes.size());
    out.direct = reader.bytes(bytes.size());
    if (!reader.finished()) {
      return malformed(from, "a key generation message that does not parse");
    }
    return out;
  }
};

}  // namespace cosigner
