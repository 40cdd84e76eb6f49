#pragma once
// The user's active keys: their records, and their shares, opened when first used. The shares and
// the key that opens them lie in locked, guarded memory for as long as the ring has them; what a
// session computes with is a copy of its own, in wiped but ordinary memory, while it runs.

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "crypto/base/guarded_vector.h"
#include "crypto/base/seal.h"
#include "crypto/protocol/protocol.h"
#include "ipc/key_record.h"
#include "ipc/message_parts.h"

namespace cosigner::worker {

/// One epoch of one key, its record decoded.
struct KeyEpoch {
  ipc::StoredKey stored;
  KeyRecord record;
  Digest digest;  ///< H(kKeyAcknowledgement; record)

  /// Decodes and checks that record and row agree. Errors: internal.
  [[nodiscard]] static Expected<KeyEpoch> from(ipc::StoredKey stored, std::string_view cluster,
                                               std::string_view user);
};

class KeyRing {
 public:
  explicit KeyRing(const AeadKey& sealing_key) : sealing_key_(sealing_key.expose()) {}

  void add(KeyEpoch epoch);
  [[nodiscard]] const KeyEpoch* find(std::string_view key) const;
  /// The share of the active epoch, opened at the first call and kept (wiped with the ring).
  /// Errors: unknown_key; storage_failed if the sealed share does not open.
  [[nodiscard]] Expected<ByteView> share(std::string_view key);
  /// A copy for one use.
  [[nodiscard]] AeadKey sealing_key() const { return *AeadKey::from(sealing_key_.expose()); }
  /// The set-up ids of the active epoch's pairwise OT state, by node; only of peers with whom there
  /// is state. Empty for schemes without, and when the share does not open.
  [[nodiscard]] const std::map<std::string, Digest, std::less<>>& pairs(std::string_view key);
  /// Puts another share of the same epoch in the place of the open one, which is wiped. Returns it
  /// sealed, for the store. The key must be there and its share open.
  ByteVector replace_share(std::string_view key, const SecretVector& share, Random& random);

 private:
  struct Entry {
    KeyEpoch epoch;
    GuardedVector share;  ///< empty until first used
    std::map<std::string, Digest, std::less<>> pairs;

    void opened(const SecretVector& bytes);
  };
  GuardedVector sealing_key_;
  std::map<std::string, Entry, std::less<>> keys_;
};

}  // namespace cosigner::worker
