#pragma once
// Identities that a test knows by a number.

#include <cstdint>

#include "crypto/identity/ed25519_key.h"

namespace cosigner::test {

inline IdentityKey key_of(std::uint8_t fill) {
  return IdentityKey::from_seed(*SecretBytes<32>::from(ByteVector(32, fill)));
}

}  // namespace cosigner::test
