#pragma once
// What this node's own files say now: the base that an import is compared with.

#include <optional>
#include <string_view>
#include <vector>

#include "ipc/message_parts.h"
#include "supervisor/ctl/setup/card.h"
#include "supervisor/ctl/setup/node_directory.h"

namespace cosigner::ctl {

/// This node's own card. Errors: bad_request if it is not set up.
[[nodiscard]] Expected<Card> own_card(const NodeDirectory& directory);

/// peers.toml; empty if there is no file, or only the package's.
struct PeerList {
  std::vector<ipc::Peer> peers;
  /// Peers that an import took out: a name never comes back with another identity unnoticed.
  std::vector<ipc::Peer> former;
};
[[nodiscard]] Expected<PeerList> listed_peers(const NodeDirectory& directory);

/// The keys of initiators.toml; nothing if it lists nobody: an import fills it then.
[[nodiscard]] Expected<std::optional<std::vector<Ed25519PublicKey>>> listed_initiators(
    const NodeDirectory& directory);

/// The bundle imported last, sealed and opened; nothing before the first.
struct BundleInUse {
  Bundle bundle;
  ByteVector sealed;
};
[[nodiscard]] Expected<std::optional<BundleInUse>> bundle_in_use(const NodeDirectory& directory);

// What nobody has decided here may be written by an import, and nothing else.
/// cosigner.toml is missing, or as the package brings it: it names no account of a broker.
[[nodiscard]] bool needs_configuration(const NodeDirectory& directory);
/// initiators.toml is missing, or lists nobody, as the package's does.
[[nodiscard]] bool lists_no_initiator(const NodeDirectory& directory);

}  // namespace cosigner::ctl
