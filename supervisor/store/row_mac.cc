#include "supervisor/store/row_mac.h"

#include <sodium.h>

#include "crypto/base/seal.h"

namespace cosigner::supervisor {

RowKey::RowKey(ByteView key_encryption_key, std::string_view cluster, std::string_view node) {
  const Digest info = TaggedHash(tag::kStoreMacKey).part(cluster).part(node).finish();
  hkdf_sha256(key_encryption_key, {}, info, key_.expose_mutable());
  key_.protect();
}

RowMac RowKey::sign(const Digest& row) const {
  RowMac mac;
  crypto_auth_hmacsha256(mac.data.data(), row.data.data(), row.data.size(), key_.expose().data());
  return mac;
}

bool RowKey::verify(const Digest& row, ByteView mac) const {
  return constant_time_equal(sign(row), mac);
}

}  // namespace cosigner::supervisor
