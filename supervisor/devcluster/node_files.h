#pragma once
// The files each node starts from: keys, configuration, the list of peers and of initiators.

#include <map>
#include <string>
#include <vector>

#include "ipc/message_parts.h"
#include "supervisor/devcluster/broker_config.h"
#include "supervisor/devcluster/layout.h"

namespace cosigner::devcluster {

/// "sessions" → {"attempt_timer_ms" → "500"}: keys of cosigner.toml's tables, values as TOML.
using Overrides = std::map<std::string, std::map<std::string, std::string>>;
/// "TABLE.KEY=VALUE"; fails with bad_request.
[[nodiscard]] Expected<void> add_override(Overrides& overrides, std::string_view text);

struct NodeFacts {
  std::string cluster;
  std::string broker_url;
  std::string broker_account;
  Overrides overrides;
};

/// Makes the directory, the identity and encryption keys, and writes the signing keys. Returns the
/// node's public identity.
[[nodiscard]] Expected<ipc::Peer> make_node_keys(const NodeLayout& node,
                                                 const NodeSigningKeys& signing_keys,
                                                 Random& random);
/// Writes cosigner.toml, peers.toml and initiators.toml.
[[nodiscard]] Expected<void> write_node_configuration(const NodeLayout& node,
                                                      const NodeFacts& facts,
                                                      const std::vector<ipc::Peer>& peers,
                                                      const Ed25519PublicKey& initiator);

}  // namespace cosigner::devcluster
