#pragma once
// All keys of one user go to its worker at the start, and a user may have thousands: they are cut
// into parts of a bounded size, of which the last travels in WorkerStart and the others, one at a
// time, before it in StartKeys.

#include <vector>

#include "ipc/error.h"
#include "ipc/message_parts.h"

namespace cosigner::ipc {

/// Some of the user's keys, before WorkerStart, when they do not all fit into it. Each is
/// acknowledged before the next is sent, so that no queue holds them all.
struct StartKeys {
  std::vector<StoredKey> keys;
  COSIGNER_MESSAGE(kStartKeys, keys)
};
struct StartKeysTaken {
  std::uint32_t keys = 0;  ///< that the worker holds now
  COSIGNER_MESSAGE(kStartKeysTaken, keys)
};

/// Of one part, by stored_key_bytes(): two of them fit a frame, so a key of up to that size does
/// too, whatever else the frame carries.
inline constexpr std::size_t kStartPartBytes = 2U << 20;
/// What a worker takes at its start: a quarter of the memory that its sandbox gives it. About 5,000
/// `ecdsa-secp256k1` keys of three participants, or 100,000 `ed25519` keys.
inline constexpr std::size_t kMaxStartBytes = 256U << 20;

/// What this key takes in a frame, rounded up.
[[nodiscard]] std::size_t stored_key_bytes(const StoredKey& key);

/// In order, nothing left out, at least one part (perhaps empty), none larger than
/// `kStartPartBytes` unless a single key is. Errors: overloaded, if they are more than
/// `kMaxStartBytes` together.
[[nodiscard]] Expected<std::vector<std::vector<StoredKey>>> split_start_keys(
    std::vector<StoredKey> keys);

}  // namespace cosigner::ipc
