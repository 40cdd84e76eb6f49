#pragma once
// Ed25519 signing keys by libsodium (verification takes less than half of OpenSSL's time): identity
// keys of nodes, keys of initiators, and the keys workers and gateways make after their fork.

#include <optional>

#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"
#include "crypto/identity/guarded.h"

namespace cosigner {

/// libsodium's form of a secret key: seed(32) ‖ public key(32).
using Ed25519SecretKey = SecretBytes<64>;

/// RFC 8032 verification with libsodium's strictness: non-canonical S and R, and public keys of
/// small order, are refused. Public data, variable time.
[[nodiscard]] bool ed25519_verify(const Ed25519PublicKey& key, ByteView message,
                                  const Ed25519Signature& signature);

[[nodiscard]] Ed25519SecretKey ed25519_generate(Random& random);
[[nodiscard]] Ed25519SecretKey ed25519_from_seed(const SecretBytes<32>& seed);
[[nodiscard]] Ed25519PublicKey ed25519_public_key(const Ed25519SecretKey& key);
[[nodiscard]] Ed25519Signature ed25519_sign(const Ed25519SecretKey& key, ByteView message);

/// A long-lived signing key (a node's identity, an initiator's key) in guarded memory: never
/// swapped, never in a core dump, between guard pages.
class IdentityKey {
 public:
  [[nodiscard]] static IdentityKey from_seed(const SecretBytes<32>& seed);
  [[nodiscard]] static IdentityKey generate(Random& random);

  [[nodiscard]] const Ed25519PublicKey& public_key() const { return public_key_; }
  [[nodiscard]] Ed25519Signature sign(ByteView message) const;

 private:
  IdentityKey() = default;
  GuardedBytes<64> secret_;
  Ed25519PublicKey public_key_;
};

}  // namespace cosigner
