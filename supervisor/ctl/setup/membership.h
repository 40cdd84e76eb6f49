#pragma once
// A node's side of a cluster: its own keys and card, made once; and its configuration, written from
// a bundle or other nodes' cards. What an import changes, and who confirms it: import_plan.h.

#include <optional>
#include <string>
#include <vector>

#include "supervisor/ctl/setup/card.h"
#include "supervisor/ctl/setup/node_directory.h"

namespace cosigner::ctl {

struct NewNode {
  std::string cluster;
  std::string node;
  std::string broker_listen;  ///< of this node's nats-server, for its clients: loopback
  std::optional<CredentialForm> form;
  /// From a recovery copy: a key-encryption key that backups of this node's store need.
  std::optional<broker::SecretText> key_encryption_key;
};
struct MadeNode {
  Card card;
  ByteVector sealed;
  CredentialForm form = CredentialForm::kPlain;
  broker::SecretText key_encryption_key;  ///< one line: the caller offers a recovery copy
};
/// Makes every key of a node, and its card. The key-encryption key is the caller's to write, last:
/// it is what says that the directory is set up.
[[nodiscard]] Expected<MadeNode> make_node(const NodeDirectory& directory, const NewNode& node,
                                           Random& random);

/// Writes peers.toml and the nats-server's configuration; cosigner.toml and initiators.toml where
/// they are not the operator's yet.
[[nodiscard]] Expected<void> apply_bundle(const NodeDirectory& directory, const Bundle& bundle,
                                          ByteView sealed);
/// Adds to peers.toml.
[[nodiscard]] Expected<void> apply_cards(const NodeDirectory& directory,
                                         const std::vector<Card>& cards);

}  // namespace cosigner::ctl
