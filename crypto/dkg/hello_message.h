#pragma once
// DKG round 0, the hello: nonce ‖ com ‖ encryption key, 96 bytes, to everyone. Decoding checks the
// length only: any bytes may be a nonce or a commitment, and a small-order encryption key shows
// when it is used.

#include "crypto/base/abort.h"
#include "crypto/base/seal.h"
#include "crypto/base/wire.h"

namespace cosigner {

struct DkgHello {
  static constexpr std::size_t kEncodedSize = 96;

  Bytes<32> nonce;                 ///< fresh; makes the session id of every participant fresh
  Digest commitment;               ///< to the Feldman vector, chain-code share and blinding value
  X25519PublicKey encryption_key;  ///< made for this key generation alone

  [[nodiscard]] ByteVector encode() const {
    return Writer().fixed(nonce).fixed(commitment).fixed(encryption_key).take();
  }
  [[nodiscard]] static Result<DkgHello> decode(ByteView bytes, ParticipantIndex from) {
    Reader reader(bytes);
    DkgHello out;
    out.nonce = reader.take<Bytes<32>>();
    out.commitment = reader.take<Digest>();
    out.encryption_key = reader.take<X25519PublicKey>();
    if (!reader.finished()) {
      return malformed(from, "a key generation hello of the wrong length");
    }
    return out;
  }
};

}  // namespace cosigner
