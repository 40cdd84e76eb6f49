#pragma once
// What a client must know of the cluster before it can judge answers: the nodes and their identity
// keys. Asked of the node behind the control socket, whose word is taken: it is the operator's own.

#include <set>
#include <string>
#include <vector>

#include "crypto/scheme/scheme.h"
#include "ipc/message_parts.h"
#include "supervisor/ctl/control_client.h"

namespace cosigner::ctl {

struct ClusterView {
  std::string cluster;
  std::string node;                     ///< the one asked
  std::vector<ipc::Peer> nodes;         ///< all, sorted by name
  std::uint16_t default_threshold = 0;  ///< of that node's configuration; 0: none
};
[[nodiscard]] Outcome<ClusterView> fetch_cluster(ControlClient& node);

/// The nodes whose gateways are present, as this node sees it; itself included.
[[nodiscard]] Outcome<std::set<std::string, std::less<>>> fetch_present(ControlClient& node);

struct KeyView {
  Scheme scheme = Scheme::kEd25519;
  std::uint16_t threshold = 0;
  std::vector<std::string> participants;
  ByteVector public_key;
  std::optional<Digest> chain_code;  ///< nothing from a node of the release before
};
/// What the node knows of an active key of that name; nothing if it holds none (it may take no
/// part in it).
[[nodiscard]] Outcome<std::optional<KeyView>> fetch_key(ControlClient& node,
                                                        const std::string& user,
                                                        const std::string& key);

}  // namespace cosigner::ctl
