#pragma once
// SHA-512, streaming: what RFC 8032 and the FROST Ed25519 suite hash with. OpenSSL's assembly takes
// 0.9 ms for 1 MiB, libsodium's C 1.4 ms.

#include <openssl/sha.h>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner::ed25519 {

class Sha512 {
 public:
  Sha512();
  ~Sha512() { sodium_memzero(&context_, sizeof context_); }  // it may have hashed a secret
  Sha512(const Sha512&) = delete;
  Sha512& operator=(const Sha512&) = delete;
  Sha512& update(ByteView bytes);
  [[nodiscard]] Bytes<64> finish();
  void finish_into(std::span<std::uint8_t, 64> out);

 private:
  SHA512_CTX context_;
};

}  // namespace cosigner::ed25519
