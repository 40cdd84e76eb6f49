#pragma once
// Who of the cluster is there. Every gateway publishes a signed beacon; a peer is present from its
// first beacon until its bye, or until `timeout` has passed without one. Presence is a hint for
// liveness: it never authorises anything.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/identity/ed25519_key.h"
#include "ipc/error.h"
#include "ipc/message_parts.h"

namespace cosigner::worker {

struct Beacon {
  std::uint64_t count = 0;  ///< goes up within one generation: a replayed beacon is dropped
  bool bye = false;         ///< the node shuts down: it is absent from now on
};

/// u8 version=1 ‖ certificate (u32 length) ‖ u64 count ‖ u8 bye ‖ signature(64) by the gateway key
/// over H(kPresence; certificate, u64 count, u8 bye).
[[nodiscard]] ByteVector encode_beacon(const Beacon& beacon, ByteView certificate,
                                       const Ed25519SecretKey& gateway_key);

struct PresenceChange {
  std::string node;
  bool present = false;
};

/// Pure: beacons and the clock in, changes out.
class PresenceTable {
 public:
  PresenceTable(std::string cluster, std::string self, const std::vector<ipc::Peer>& peers,
                std::uint32_t timeout_ms);

  /// The configuration was read again: peers that stay are as they were. Returns who was present
  /// and is gone, or has another identity now.
  [[nodiscard]] std::vector<PresenceChange> reconfigure(const std::vector<ipc::Peer>& peers,
                                                        std::uint32_t timeout_ms);

  /// Checks a beacon that the broker says came from `node` (own beacons are ignored). Errors say
  /// why it was dropped.
  [[nodiscard]] Expected<std::optional<PresenceChange>> on_beacon(std::int64_t now_ms,
                                                                  std::uint64_t wall_seconds,
                                                                  std::string_view node,
                                                                  ByteView payload);
  /// Peers whose last beacon is too old.
  [[nodiscard]] std::vector<PresenceChange> on_timer(std::int64_t now_ms);
  /// The broker connection is gone: nobody can be heard, so everybody is absent.
  [[nodiscard]] std::vector<PresenceChange> on_disconnected();
  [[nodiscard]] bool present(std::string_view node) const;

 private:
  struct Entry {
    Ed25519PublicKey identity;
    ByteVector certificate;  ///< the last one that verified: it is not verified twice
    Ed25519PublicKey key;
    std::uint64_t valid_until = 0;
    std::uint64_t generation = 0;
    std::uint64_t count = 0;
    std::int64_t last_ms = 0;
    bool present = false;
  };
  [[nodiscard]] Expected<void> learn_certificate(std::uint64_t wall_seconds, std::string_view node,
                                                 Entry& entry, ByteView certificate) const;

  std::string cluster_;
  std::string self_;
  std::uint32_t timeout_ms_;
  std::map<std::string, Entry, std::less<>> peers_;
};

}  // namespace cosigner::worker
