#pragma once
// Whether a stored epoch of a key is what its certificate says: for `cosignerctl verify`, which is
// to find before a signature does that a share is lost, another's, or older than its record.

#include <span>
#include <string_view>

#include "crypto/base/seal.h"
#include "ipc/message_parts.h"

namespace cosigner::worker {

/// Whose keys these are to be. Views: what they point at outlives the check.
struct KeyHolder {
  std::string_view cluster;
  std::string_view node;
  std::string_view user;
  std::span<const ipc::Peer> peers;  ///< all nodes of the cluster, this one included
  AeadKey sealing_key;
};

/// Record, certificate (of an active epoch; a pending one has none yet), seal, share·G against the
/// certified public share of this node, OT state: in this order, up to the first fault. A peer
/// whose OT state was erased (a burnt pair) is none. The opened share is wiped on return.
[[nodiscard]] ipc::KeyFault find_key_fault(const ipc::StoredKey& stored, const KeyHolder& holder);

}  // namespace cosigner::worker
