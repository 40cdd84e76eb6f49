#pragma once
// Every row carries an HMAC-SHA-256 under a key derived from the node's key-encryption key: a row
// that was altered, moved to another table or invented is refused when it is read. (A row that
// vanished, or a whole file that was rolled back, is not noticed: no local file can tell.)

#include <array>

#include "crypto/base/hash.h"
#include "crypto/identity/guarded.h"

namespace cosigner::supervisor {

using RowMac = Bytes<32, struct RowMacKind>;

class RowKey {
 public:
  RowKey(ByteView key_encryption_key, std::string_view cluster, std::string_view node);
  /// `row`: H(kStoreRow; table, fields…).
  [[nodiscard]] RowMac sign(const Digest& row) const;
  [[nodiscard]] bool verify(const Digest& row, ByteView mac) const;

 private:
  GuardedBytes<32> key_;
};

/// Starts the hash of a row; add the fields in order.
[[nodiscard]] inline TaggedHash row_hash(std::string_view table) {
  TaggedHash hash(tag::kStoreRow);
  hash.part(table);
  return hash;
}

}  // namespace cosigner::supervisor
