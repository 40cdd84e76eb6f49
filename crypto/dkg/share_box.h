#pragma once
// Encryption of a share from a dealer to one receiver: X25519 between the two hello keys, HKDF, and
// AES-256-GCM under a key of its own for each (session, from, to), so the nonce can be constant.

#include <optional>

#include "crypto/base/abort.h"
#include "crypto/base/seal.h"
#include "crypto/base/tags.h"

namespace cosigner {

/// Who deals to whom, in which session of which protocol.
struct ShareRoute {
  Digest sid;
  ParticipantIndex from = 0;
  ParticipantIndex to = 0;
  tag::Tag key_tag = tag::kDkgShareKey;
};

/// `shared` is the X25519 result between the two; each direction derives another key from it.
[[nodiscard]] ByteVector seal_share(const SecretBytes<32>& shared, const ShareRoute& route,
                                    ByteView plain);
[[nodiscard]] std::optional<SecretVector> open_share(const SecretBytes<32>& shared,
                                                     const ShareRoute& route, ByteView sealed);
/// What a deal lists for everyone to see.
[[nodiscard]] Digest hash_ciphertext(const ShareRoute& route, ByteView sealed);

}  // namespace cosigner
