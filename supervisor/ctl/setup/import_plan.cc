#include "supervisor/ctl/setup/import_plan.h"

#include <algorithm>

#include "supervisor/ctl/setup/own_files.h"

namespace cosigner::ctl {
namespace {

/// One peer of an import against what is known.
Expected<PeerChange> compare(const Card& own, const PeerList& listed, const Card& card) {
  PeerChange change{card.node, card.identity, PeerStatus::kNew};
  if (card.cluster != own.cluster) {
    return fail(ErrorCode::kConflict, "the card of " + card.node + " is of cluster '" +
                                          card.cluster + "', this node's is '" + own.cluster + "'");
  }
  if (card.node == own.node) {
    if (card.identity != own.identity) {
      return fail(ErrorCode::kConflict,
                  "a card names this node, '" + own.node +
                      "', with another identity: another node has the same name, or the card is "
                      "older than this node's identity");
    }
    change.status = PeerStatus::kThisNode;
    return change;
  }
  for (const auto* list : {&listed.peers, &listed.former}) {
    const auto found = std::ranges::find(*list, card.node, &ipc::Peer::node);
    if (found == list->end()) {
      continue;
    }
    if (found->identity != card.identity) {
      return fail(ErrorCode::kConflict,
                  "node '" + card.node + "' is known with another identity, " +
                      fingerprint(found->identity) + ", and the card says " +
                      fingerprint(card.identity) +
                      ": if it was really set up anew, take its entry out of peers.toml first");
    }
    if (list == &listed.peers) {
      change.status = PeerStatus::kKnown;
    }
  }
  return change;
}

Expected<std::vector<InitiatorChange>> plan_initiators(const NodeDirectory& directory,
                                                       const Bundle& bundle) {
  const auto listed = listed_initiators(directory);
  if (!listed) {
    return std::unexpected(listed.error());
  }
  std::vector<InitiatorChange> out;
  for (const Bundle::Client& client : bundle.initiators) {
    const InitiatorStatus status = !*listed ? InitiatorStatus::kNew
                                   : std::ranges::find(**listed, client.key) != (*listed)->end()
                                       ? InitiatorStatus::kKnown
                                       : InitiatorStatus::kNotTaken;
    out.push_back({.name = client.name, .key = client.key, .status = status});
  }
  return out;
}

/// Listed peers that `changes` has no place for.
void add_gone(const PeerList& listed, std::vector<PeerChange>& changes) {
  for (const ipc::Peer& peer : listed.peers) {
    if (std::ranges::find(changes, peer.node, &PeerChange::node) == changes.end()) {
      changes.push_back({peer.node, peer.identity, PeerStatus::kGone});
    }
  }
}

Expected<AuthorityChange> plan_authority(const NodeDirectory& directory, const Bundle& bundle,
                                         ByteView sealed) {
  const auto before = bundle_in_use(directory);
  if (!before) {
    return std::unexpected(before.error());
  }
  if (!*before) {
    return AuthorityChange{bundle.authority, AuthorityStatus::kNew};
  }
  const Bundle& last = (*before)->bundle;
  if (last.authority != bundle.authority) {
    return fail(ErrorCode::kConflict, "this bundle is signed by another authority, " +
                                          fingerprint(bundle.authority) + ", than the last, " +
                                          fingerprint(last.authority) +
                                          ": ask the operator of the cluster's first node");
  }
  if (last.serial > bundle.serial) {
    return fail(ErrorCode::kConflict, "this bundle is older than the one in use (" +
                                          std::to_string(bundle.serial) + ", " +
                                          std::to_string(last.serial) +
                                          "): get the newest from the cluster's first node");
  }
  if (last.serial == bundle.serial && !std::ranges::equal((*before)->sealed, sealed)) {
    return fail(ErrorCode::kConflict, "this bundle has the number of the one in use, " +
                                          std::to_string(last.serial) +
                                          ", and says something else: its authority has made two");
  }
  return AuthorityChange{bundle.authority, AuthorityStatus::kKnown};
}

}  // namespace

std::vector<std::string> ImportPlan::to_confirm() const {
  std::vector<std::string> out;
  if (authority && authority->status == AuthorityStatus::kNew) {
    out.push_back("authority " + fingerprint(authority->key));
  }
  for (const InitiatorChange& initiator : initiators) {
    if (initiator.status == InitiatorStatus::kNew) {
      out.push_back("initiator " + initiator.name + " " + fingerprint(initiator.key));
    }
  }
  for (const PeerChange& peer : peers) {
    if (peer.status == PeerStatus::kNew) {
      out.push_back("node " + peer.node + " " + fingerprint(peer.identity));
    } else if (peer.status == PeerStatus::kGone) {
      out.push_back("node " + peer.node + " is gone");
    }
  }
  return out;
}

Expected<ImportPlan> plan_cards(const NodeDirectory& directory, const std::vector<Card>& cards) {
  const auto own = own_card(directory);
  if (!own) {
    return std::unexpected(own.error());
  }
  const auto known = listed_peers(directory);
  if (!known) {
    return std::unexpected(known.error());
  }
  ImportPlan out;
  for (const Card& card : cards) {
    auto change = compare(*own, *known, card);
    if (!change) {
      return std::unexpected(change.error());
    }
    if (std::ranges::find(out.peers, card.node, &PeerChange::node) != out.peers.end()) {
      return fail(ErrorCode::kConflict,
                  "node '" + card.node + "' comes twice: give one card of each node");
    }
    out.peers.push_back(std::move(*change));
  }
  return out;
}

Expected<ImportPlan> plan_admission(const NodeDirectory& directory,
                                    const std::vector<ByteVector>& members,
                                    const std::vector<Card>& cards) {
  auto out = plan_cards(directory, cards);
  auto listed = listed_peers(directory);
  if (!out || !listed) {
    return out ? std::unexpected(listed.error()) : std::move(out);
  }
  std::vector<std::string> staying;
  for (const ByteVector& sealed : members) {
    const auto card = open_card(sealed);
    if (!card) {
      return std::unexpected(card.error());
    }
    staying.push_back(card->node);
  }
  std::erase_if(listed->peers, [&](const ipc::Peer& peer) {
    return std::ranges::find(staying, peer.node) != staying.end();
  });
  add_gone(*listed, out->peers);
  return out;
}

Expected<ImportPlan> plan_bundle(const NodeDirectory& directory, const Bundle& bundle,
                                 ByteView sealed) {
  std::vector<Card> cards;
  for (const Bundle::Member& member : bundle.members) {
    auto card = open_card(member.card);
    if (!card) {
      return std::unexpected(card.error());
    }
    cards.push_back(std::move(*card));
  }
  auto out = plan_cards(directory, cards);
  if (!out) {
    return out;
  }
  if (std::ranges::find(out->peers, PeerStatus::kThisNode, &PeerChange::status) ==
      out->peers.end()) {
    return fail(ErrorCode::kConflict, "this node is not in the bundle: give its card, " +
                                          directory.card().string() +
                                          ", to whoever made the bundle");
  }
  const auto listed = listed_peers(directory);
  if (!listed) {
    return std::unexpected(listed.error());
  }
  add_gone(*listed, out->peers);
  auto authority = plan_authority(directory, bundle, sealed);
  auto initiators = plan_initiators(directory, bundle);
  if (!authority || !initiators) {
    return std::unexpected(!authority ? authority.error() : initiators.error());
  }
  out->authority = *authority;
  out->initiators = std::move(*initiators);
  return out;
}

}  // namespace cosigner::ctl
