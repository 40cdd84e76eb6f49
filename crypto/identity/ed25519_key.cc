#include "crypto/identity/ed25519_key.h"

#include <sodium.h>

namespace cosigner {
namespace {

Ed25519Signature sign_with(ByteView secret, ByteView message) {
  Ed25519Signature out;
  crypto_sign_detached(out.data.data(), nullptr, message.data(), message.size(), secret.data());
  return out;
}

void expand_seed(ByteView seed, std::span<std::uint8_t> secret, Ed25519PublicKey& public_key) {
  crypto_sign_seed_keypair(public_key.data.data(), secret.data(), seed.data());
}

}  // namespace

bool ed25519_verify(const Ed25519PublicKey& key, ByteView message,
                    const Ed25519Signature& signature) {
  return crypto_sign_verify_detached(signature.data.data(), message.data(), message.size(),
                                     key.data.data()) == 0;
}

Ed25519SecretKey ed25519_from_seed(const SecretBytes<32>& seed) {
  Ed25519SecretKey out;
  Ed25519PublicKey unused;
  expand_seed(seed.expose(), out.expose_mutable(), unused);
  return out;
}

Ed25519SecretKey ed25519_generate(Random& random) {
  return ed25519_from_seed(random.secret<32>());
}

Ed25519PublicKey ed25519_public_key(const Ed25519SecretKey& key) {
  // libsodium keeps the public key behind the seed.
  return Ed25519PublicKey::from(key.expose().subspan(32)).value_or(Ed25519PublicKey{});
}

Ed25519Signature ed25519_sign(const Ed25519SecretKey& key, ByteView message) {
  return sign_with(key.expose(), message);
}

IdentityKey IdentityKey::from_seed(const SecretBytes<32>& seed) {
  IdentityKey out;
  expand_seed(seed.expose(), out.secret_.expose_mutable(), out.public_key_);
  out.secret_.protect();
  return out;
}

IdentityKey IdentityKey::generate(Random& random) {
  return from_seed(random.secret<32>());
}

Ed25519Signature IdentityKey::sign(ByteView message) const {
  return sign_with(secret_.expose(), message);
}

}  // namespace cosigner
