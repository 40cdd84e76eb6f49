#include "worker/session/key_ring.h"

#include "crypto/identity/share_seal.h"
#include "crypto/identity/statement.h"

namespace cosigner::worker {

Expected<KeyEpoch> KeyEpoch::from(ipc::StoredKey stored, std::string_view cluster,
                                  std::string_view user) {
  Expected<KeyRecord> record = decode_key_record(stored.record);
  if (!record) {
    return std::unexpected(record.error());
  }
  if (record->cluster != cluster || record->user != user || record->key != stored.key ||
      record->epoch != stored.epoch || record->session != stored.session) {
    return fail(ErrorCode::kInternal,
                "the stored record of key " + stored.key + " belongs to another key");
  }
  const Digest digest = acknowledgement_digest(stored.record);
  return KeyEpoch{std::move(stored), *std::move(record), digest};
}

void KeyRing::add(KeyEpoch epoch) {
  const std::string key = epoch.stored.key;
  keys_.insert_or_assign(key, Entry{std::move(epoch), {}});
}

const KeyEpoch* KeyRing::find(std::string_view key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? nullptr : &found->second.epoch;
}

Expected<ByteView> KeyRing::share(std::string_view key) {
  const auto found = keys_.find(key);
  if (found == keys_.end()) {
    return fail(ErrorCode::kUnknownKey, "no key of that name");
  }
  Entry& entry = found->second;
  if (entry.share.empty()) {
    Checked<SecretVector> opened =
        open_share(sealing_key_, share_binding(entry.epoch.record, entry.epoch.stored.record),
                   entry.epoch.stored.sealed_share);
    if (!opened) {
      return fail(ErrorCode::kStorageFailed, "the stored share of key " + std::string(key) +
                                                 " does not open: " + opened.error());
    }
    entry.share = *std::move(opened);
  }
  return as_view(entry.share);
}

}  // namespace cosigner::worker
