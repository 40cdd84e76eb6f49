#include "worker/session/key_ring.h"

#include <algorithm>

#include "crypto/dkls23/key_state.h"
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
  keys_.insert_or_assign(key, Entry{std::move(epoch), {}, {}});
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
        open_share(sealing_key(), share_binding(entry.epoch.record, entry.epoch.stored.record),
                   entry.epoch.stored.sealed_share);
    if (!opened) {
      return fail(ErrorCode::kStorageFailed, "the stored share of key " + std::string(key) +
                                                 " does not open: " + opened.error());
    }
    entry.opened(*opened);
  }
  return entry.share.expose();
}

void KeyRing::Entry::opened(const SecretVector& bytes) {
  share = GuardedVector(as_view(bytes));
  pairs.clear();
  if (epoch.record.scheme != Scheme::kEcdsaSecp256k1) {
    return;
  }
  const auto ids = dkls23::pair_ids(share.expose());
  for (const auto& [index, node] : epoch.record.participants) {
    const auto found = std::ranges::find(ids, index, &std::pair<ParticipantIndex, Digest>::first);
    if (found != ids.end()) {
      pairs.emplace(node, found->second);
    }
  }
}

const std::map<std::string, Digest, std::less<>>& KeyRing::pairs(std::string_view key) {
  static const std::map<std::string, Digest, std::less<>> kNone;
  return share(key) ? keys_.find(key)->second.pairs : kNone;
}

ByteVector KeyRing::replace_share(std::string_view key, const SecretVector& share, Random& random) {
  Entry& entry = keys_.find(key)->second;
  ipc::StoredKey& stored = entry.epoch.stored;
  stored.sealed_share = seal_share(sealing_key(), share_binding(entry.epoch.record, stored.record),
                                   as_view(share), random);
  entry.opened(share);
  return stored.sealed_share;
}

}  // namespace cosigner::worker
