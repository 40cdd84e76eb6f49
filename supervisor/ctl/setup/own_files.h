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

/// The keys of initiators.toml; nothing if it is unwritten: an import fills it then.
[[nodiscard]] Expected<std::optional<std::vector<Ed25519PublicKey>>> listed_initiators(
    const NodeDirectory& directory);

/// The bundle imported last, sealed and opened; nothing before the first.
struct BundleInUse {
  Bundle bundle;
  ByteVector sealed;
};
[[nodiscard]] Expected<std::optional<BundleInUse>> bundle_in_use(const NodeDirectory& directory);

/// Written by nobody yet, or by the package: it has no line that begins with `entry`, or, if that
/// is empty, still has the package's placeholders.
[[nodiscard]] bool is_unwritten(const std::filesystem::path& path, std::string_view entry);
inline constexpr std::string_view kInitiatorEntry = "[[initiator]]";  ///< of initiators.toml

}  // namespace cosigner::ctl
