#pragma once
// A node's side of a cluster: its own keys and card, made once; and what a bundle or another node's
// card changes in its configuration.

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

enum class PeerStatus : std::uint8_t { kThisNode, kKnown, kNew };
struct PeerChange {
  std::string node;
  Ed25519PublicKey identity;
  PeerStatus status = PeerStatus::kNew;
};

/// This node's own card. Errors: bad_request if it is not set up.
[[nodiscard]] Expected<Card> own_card(const NodeDirectory& directory);
/// What an import would change. Errors: conflict (another cluster, a known node with another
/// identity, another authority than before, an older bundle), bad_request.
[[nodiscard]] Expected<std::vector<PeerChange>> plan_bundle(const NodeDirectory& directory,
                                                            const Bundle& bundle);
[[nodiscard]] Expected<std::vector<PeerChange>> plan_cards(const NodeDirectory& directory,
                                                           const std::vector<Card>& cards);
/// Writes peers.toml and the nats-server's configuration; cosigner.toml and initiators.toml where
/// they are not the operator's yet.
[[nodiscard]] Expected<void> apply_bundle(const NodeDirectory& directory, const Bundle& bundle,
                                          ByteView sealed);
/// Adds to peers.toml.
[[nodiscard]] Expected<void> apply_cards(const NodeDirectory& directory,
                                         const std::vector<Card>& cards);

}  // namespace cosigner::ctl
