#pragma once
// Sealing of a user's shares: AES-256-GCM under a key of that user, derived from the node's
// key-encryption key. A sealed share opens only for the record it was made with.

#include <span>
#include <string_view>
#include <utility>

#include "crypto/base/abort.h"
#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/seal.h"
#include "crypto/identity/checked.h"

namespace cosigner {

/// HKDF(key-encryption key; info = H(kUserSealingKey; cluster, node, user)). The node is part of
/// it, so that a key-encryption key shared by mistake between nodes does not make their shares
/// interchangeable. `key_encryption_key`: 32 bytes.
[[nodiscard]] AeadKey derive_user_sealing_key(ByteView key_encryption_key, std::string_view cluster,
                                              std::string_view node, std::string_view user);

/// All that a share is bound to (associated data). `record` is the encoded key record; the other
/// fields repeat what it says, so that no two readings of a record can share one seal. Make it with
/// share_binding() of ipc/key_record.h.
struct ShareBinding {
  std::string_view user;
  std::string_view key;
  std::string_view scheme;
  std::uint64_t epoch = 0;
  std::uint16_t threshold = 0;
  std::span<const std::pair<ParticipantIndex, std::string>> participants;
  std::span<const ByteVector> public_shares;
  ByteView record;
};

/// u8 version=1 ‖ random nonce (12) ‖ ciphertext ‖ tag. Random 96-bit nonces are safe for 2^32
/// seals under one user's key (NIST SP 800-38D §8.3); a user makes a few per key and epoch.
[[nodiscard]] ByteVector seal_share(const AeadKey& key, const ShareBinding& binding,
                                    ByteView secret, Random& random);
[[nodiscard]] Checked<SecretVector> open_share(const AeadKey& key, const ShareBinding& binding,
                                               ByteView sealed);

}  // namespace cosigner
