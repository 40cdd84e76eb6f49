// SHA512_* is deprecated in OpenSSL 3 in favour of EVP, which allocates and fetches.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include "crypto/ed25519/sha512.h"

namespace cosigner::ed25519 {

Sha512::Sha512() {
  SHA512_Init(&context_);
}

Sha512& Sha512::update(ByteView bytes) {
  SHA512_Update(&context_, bytes.data(), bytes.size());
  return *this;
}

Bytes<64> Sha512::finish() {
  Bytes<64> out;
  finish_into(out.data);
  return out;
}

void Sha512::finish_into(std::span<std::uint8_t, 64> out) {
  SHA512_Final(out.data(), &context_);
}

}  // namespace cosigner::ed25519

#pragma GCC diagnostic pop
