#include "ipc/start_keys.h"

#include "ipc/codec.h"

namespace cosigner::ipc {
namespace {

/// Integers, state, session, and the headers of everything.
constexpr std::size_t kFixedBytes = 96;
/// Well below what a frame's decoder takes in one list.
constexpr std::size_t kPartItems = kMaxItems / 2;

}  // namespace

std::size_t stored_key_bytes(const StoredKey& key) {
  return kFixedBytes + key.key.size() + key.record.size() + key.sealed_share.size() +
         key.certificate.size();
}

Expected<std::vector<std::vector<StoredKey>>> split_start_keys(std::vector<StoredKey> keys) {
  std::vector<std::vector<StoredKey>> parts(1);
  std::size_t in_part = 0;
  std::size_t in_all = 0;
  for (StoredKey& key : keys) {
    const std::size_t bytes = stored_key_bytes(key);
    in_all += bytes;
    if (in_all > kMaxStartBytes) {
      return fail(ErrorCode::kOverloaded,
                  "this user's " + std::to_string(keys.size()) + " keys are more than " +
                      std::to_string(kMaxStartBytes >> 20) + " MiB, which no process takes");
    }
    if (!parts.back().empty() &&
        (in_part + bytes > kStartPartBytes || parts.back().size() >= kPartItems)) {
      parts.emplace_back();
      in_part = 0;
    }
    in_part += bytes;
    parts.back().push_back(std::move(key));
  }
  return parts;
}

}  // namespace cosigner::ipc
