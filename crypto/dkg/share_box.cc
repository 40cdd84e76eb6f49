#include "crypto/dkg/share_box.h"

#include "crypto/base/hash.h"

namespace cosigner {
namespace {

Digest label(const ShareRoute& route) {
  return TaggedHash(route.key_tag).part(route.sid).part_u16(route.from).part_u16(route.to).finish();
}

AeadKey derive_key(const SecretBytes<32>& shared, const ShareRoute& route, const Digest& info) {
  AeadKey key;
  hkdf_sha256(shared.expose(), route.sid, info, key.expose_mutable());
  return key;
}

}  // namespace

ByteVector seal_share(const SecretBytes<32>& shared, const ShareRoute& route, ByteView plain) {
  const Digest info = label(route);
  return aead_seal(derive_key(shared, route, info), AeadNonce(), info, plain);
}

std::optional<SecretVector> open_share(const SecretBytes<32>& shared, const ShareRoute& route,
                                       ByteView sealed) {
  const Digest info = label(route);
  return aead_open(derive_key(shared, route, info), AeadNonce(), info, sealed);
}

Digest hash_ciphertext(const ShareRoute& route, ByteView sealed) {
  return TaggedHash(tag::kDkgCiphertext)
      .part(route.sid)
      .part_u16(route.from)
      .part_u16(route.to)
      .part(sealed)
      .finish();
}

}  // namespace cosigner
