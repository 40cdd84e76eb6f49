#pragma once
// A request's envelope that a test alters and encodes again. What a node does reads it where it
// lies.

#include "ipc/request.h"

namespace cosigner::test {

/// Throws if it is none.
inline cosigner::Envelope envelope_of(ByteView bytes) {
  auto view = view_envelope(bytes, kMaxEnvelopeBytes).value();
  return {.request = to_vector(view.request), .signatures = std::move(view.signatures)};
}

}  // namespace cosigner::test
