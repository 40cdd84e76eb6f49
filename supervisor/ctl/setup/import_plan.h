#pragma once
// What an import would change, decided before anything is written, and which of it an operator must
// confirm. Three things are believed because people compared them: a node's identity key, the
// authority that signs bundles, and the initiators that a first bundle brings, whose requests this
// node will obey. A bundle's own signature only says that whoever made the authority made it: cards
// are public, so anybody can put genuine ones into a bundle of his own.

#include <optional>
#include <string>
#include <vector>

#include "supervisor/ctl/setup/card.h"
#include "supervisor/ctl/setup/node_directory.h"

namespace cosigner::ctl {

enum class PeerStatus : std::uint8_t {
  kThisNode,
  kKnown,
  kNew,
  kGone  ///< listed here, and not in the bundle: keys that it takes part in lose a signer here
};
struct PeerChange {
  std::string node;
  Ed25519PublicKey identity;
  PeerStatus status = PeerStatus::kNew;
};

enum class AuthorityStatus : std::uint8_t {
  kKnown,  ///< signed the bundle in use
  kNew     ///< there is none in use yet
};
struct AuthorityChange {
  Ed25519PublicKey key;
  AuthorityStatus status = AuthorityStatus::kNew;
};

enum class InitiatorStatus : std::uint8_t {
  kKnown,    ///< this node obeys it already
  kNew,      ///< will be obeyed, for every operation and user: initiators.toml lists nobody
  kNotTaken  ///< initiators.toml is this node's own, and does not list it
};
struct InitiatorChange {
  std::string name;
  Ed25519PublicKey key;
  InitiatorStatus status = InitiatorStatus::kNew;
};

struct ImportPlan {
  std::vector<PeerChange> peers;
  std::optional<AuthorityChange> authority;  ///< of a bundle
  std::vector<InitiatorChange> initiators;   ///< of a bundle

  /// What somebody must have compared before this is applied, each as words and fingerprint.
  [[nodiscard]] std::vector<std::string> to_confirm() const;
};

/// Errors: conflict (another cluster, a known or former node with another identity, another
/// authority than before, an older bundle, another of the same serial), bad_request.
[[nodiscard]] Expected<ImportPlan> plan_bundle(const NodeDirectory& directory, const Bundle& bundle,
                                               ByteView sealed);
[[nodiscard]] Expected<ImportPlan> plan_cards(const NodeDirectory& directory,
                                              const std::vector<Card>& cards);
/// The same where the authority is: what its next bundle will make of this node.
[[nodiscard]] Expected<ImportPlan> plan_admission(const NodeDirectory& directory,
                                                  const std::vector<ByteVector>& members,
                                                  const std::vector<Card>& cards);

}  // namespace cosigner::ctl
