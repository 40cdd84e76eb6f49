#include <unistd.h>

#include <iostream>

#include "ipc/joined.h"
#include "supervisor/ctl/json.h"
#include "supervisor/ctl/message_io.h"
#include "supervisor/ctl/setup/authority.h"
#include "supervisor/ctl/setup/commands.h"
#include "supervisor/ctl/setup/import_plan.h"
#include "supervisor/ctl/setup/membership.h"
#include "supervisor/ctl/setup/own_files.h"
#include "supervisor/ctl/setup/support.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

using namespace setup;

std::vector<std::string> steps_after_import(const NodeDirectory& directory) {
  if (!directory.system()) {
    return {"start nats-server --config " + (directory.broker() / "leaf.conf").string(),
            "start cosignerd --config " + directory.configuration().string() +
                "; where it runs already: cosignerctl reload"};
  }
  const std::string servers =
      Authority::present(directory) ? "cosigner-nats@hub cosigner-nats@leaf" : "cosigner-nats@leaf";
  return {"systemctl disable --now nats-server   (Debian's own instance, which has port 4222)",
          "systemctl enable --now " + servers + " cosigner",
          "where they run already: cosignerctl reload takes the list of peers in; only for new "
          "certificates: systemctl restart " +
              servers,
          "cosignerctl doctor"};
}

const char* status_name(PeerStatus status) {
  switch (status) {
    case PeerStatus::kThisNode:
      return "this node";
    case PeerStatus::kKnown:
      return "known";
    case PeerStatus::kNew:
      return "new";
    case PeerStatus::kGone:
      return "gone";
  }
  return "new";
}

const char* status_name(InitiatorStatus status) {
  switch (status) {
    case InitiatorStatus::kKnown:
      return "known";
    case InitiatorStatus::kNew:
      return "new";
    case InitiatorStatus::kNotTaken:
      return "not taken";
  }
  return "new";
}

const char* status_name(AuthorityStatus status) {
  return status == AuthorityStatus::kKnown ? "known" : "new";
}

/// What a plan says, for people and for programs.
std::string plan_table(const ImportPlan& plan) {
  Table table({"", "", "FINGERPRINT", ""});
  if (plan.authority) {
    table.row(
        {"authority", "", fingerprint(plan.authority->key), status_name(plan.authority->status)});
  }
  for (const InitiatorChange& initiator : plan.initiators) {
    table.row(
        {"initiator", initiator.name, fingerprint(initiator.key), status_name(initiator.status)});
  }
  for (const PeerChange& peer : plan.peers) {
    table.row({"node", peer.node, fingerprint(peer.identity), status_name(peer.status)});
  }
  return table.text();
}

Json plan_json(const ImportPlan& plan) {
  Json nodes = Json::array();
  for (const PeerChange& peer : plan.peers) {
    nodes.push_back({{"node", peer.node},
                     {"fingerprint", fingerprint(peer.identity)},
                     {"identity", to_hex(peer.identity)},
                     {"status", status_name(peer.status)}});
  }
  Json initiators = Json::array();
  for (const InitiatorChange& initiator : plan.initiators) {
    initiators.push_back({{"name", initiator.name},
                          {"fingerprint", fingerprint(initiator.key)},
                          {"public_key", to_hex(initiator.key)},
                          {"status", status_name(initiator.status)}});
  }
  Json authority = nullptr;
  if (plan.authority) {
    authority = {{"fingerprint", fingerprint(plan.authority->key)},
                 {"status", status_name(plan.authority->status)}};
  }
  return {{"nodes", nodes}, {"authority", authority}, {"initiators", initiators}};
}

struct Import {
  std::vector<Card> cards;
  std::vector<ByteVector> sealed_cards;
  std::optional<Bundle> bundle;
  ByteVector sealed_bundle;
};

Outcome<Import> read_import(const std::vector<std::string>& files) {
  Import given;
  for (const std::string& name : files) {
    const auto text = read_file(name);
    if (!text) {
      return std::unexpected(Failure{ExitStatus::kNoInput, text.error(), false});
    }
    auto armored = unarmor(*text);
    if (!armored) {
      return failed(ExitStatus::kNoInput, armored.error().code,
                    name + ": " + armored.error().message);
    }
    if (armored->kind == ArmorKind::kCard) {
      auto card = open_card(armored->sealed);
      if (!card) {
        return failed(ExitStatus::kNoInput, card.error().code, name + ": " + card.error().message);
      }
      given.cards.push_back(std::move(*card));
      given.sealed_cards.push_back(std::move(armored->sealed));
      continue;
    }
    auto bundle = open_bundle(armored->sealed);
    if (!bundle) {
      return failed(ExitStatus::kNoInput, bundle.error().code,
                    name + ": " + bundle.error().message);
    }
    given.bundle = std::move(*bundle);
    given.sealed_bundle = std::move(armored->sealed);
  }
  if (given.bundle && !given.cards.empty()) {
    return usage("import cards or a bundle, one after the other.");
  }
  return given;
}

/// On a terminal, unless --yes has said it already. What nobody confirmed is named in the error.
Outcome<void> confirm(const Context& context, const ImportPlan& plan) {
  const std::vector<std::string> open = plan.to_confirm();
  if (open.empty()) {
    return {};
  }
  if (::isatty(STDIN_FILENO) == 1 && !context.json) {
    std::cerr << "Compare each new fingerprint with what its owner reads to you: that node's "
                 "operator; for the authority and\ninitiators, the operator of the cluster's first "
                 "node (whom an initiator names may have anything signed here).\nA node that is "
                 "gone leaves this node's peers: keys that it takes part in have one signer "
                 "less here.\nAll equal and meant? Type yes: "
              << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "yes") {
      return {};
    }
  }
  return usage("nothing was imported, since nobody has confirmed: " + joined(open, "; ") +
               ". Compare with what their owners read to you, ask whether a node is meant to go, "
               "then confirm with --yes.");
}

Expected<ImportPlan> plan(const NodeDirectory& directory, const Import& given) {
  if (given.bundle) {
    return plan_bundle(directory, *given.bundle, given.sealed_bundle);
  }
  if (!Authority::present(directory)) {
    return plan_cards(directory, given.cards);
  }
  const auto authority = Authority::load(directory);
  const auto members = authority
                           ? authority->members()
                           : Expected<std::vector<ByteVector>>(std::unexpected(authority.error()));
  if (!members) {
    return std::unexpected(members.error());
  }
  return plan_admission(directory, *members, given.cards);
}

/// Cards where the authority is: admitted, and the new bundle applied here as well.
Expected<void> admit(const NodeDirectory& directory, const Import& given) {
  auto authority = Authority::load(directory);
  if (!authority) {
    return std::unexpected(authority.error());
  }
  for (const ByteVector& card : given.sealed_cards) {
    if (auto admitted = authority->admit(card); !admitted) {
      return admitted;
    }
  }
  return publish_here(directory, *authority);
}

}  // namespace

Outcome<void> run_peers_export(const Context& context, const std::string& root, bool bundle,
                               const std::string& out_file) {
  const NodeDirectory directory(root);
  const auto card = own_card(directory);
  const auto in_use = bundle_in_use(directory);
  if (!card || !in_use) {
    return setup_failed(!card ? card.error() : in_use.error());
  }
  const std::string authority = *in_use ? fingerprint((*in_use)->bundle.authority) : "";
  const auto text = read_file(bundle ? directory.bundle() : directory.card());
  if (!text) {
    return failed(ExitStatus::kConfiguration, ErrorCode::kBadRequest,
                  bundle ? "this node knows no bundle: import one first." : text.error().message);
  }
  if (!out_file.empty()) {
    if (auto written = write_file(out_file, *text); !written) {
      // As the set-up commands name it for all files of a node.
      written.error().error.code = ErrorCode::kStorageFailed;
      return written;
    }
  }
  if (context.json) {
    context.out << Json{{"node", card->node},
                        {"cluster", card->cluster},
                        {"fingerprint", fingerprint(card->identity)},
                        {"authority", authority.empty() ? Json(nullptr) : Json(authority)},
                        {bundle ? "bundle" : "card", *text}}
                       .dump()
                << "\n";
    return {};
  }
  if (out_file.empty()) {
    context.out << *text << std::flush;
  }
  // Beside the card, not in it: they are for this operator to read to others.
  std::ostream& beside = out_file.empty() ? std::cerr : context.out;
  beside << card->node << " of cluster " << card->cluster << ": " << fingerprint(card->identity)
         << "\n";
  if (!authority.empty()) {
    beside << "authority of cluster " << card->cluster << ": " << authority << "\n";
  }
  return {};
}

Outcome<void> run_peers_import(const Context& context, const std::string& root,
                               const std::vector<std::string>& files, bool confirmed) {
  const NodeDirectory directory(root);
  const auto given = read_import(files);
  if (!given) {
    return std::unexpected(given.error());
  }
  const auto planned = plan(directory, *given);
  if (!planned) {
    return setup_failed(planned.error());
  }
  if (!context.json) {
    context.out << plan_table(*planned) << std::flush;
  }
  if (!confirmed) {
    if (auto compared = confirm(context, *planned); !compared) {
      return compared;
    }
  }
  const bool has_authority = Authority::present(directory);
  const auto done = given->bundle   ? apply_bundle(directory, *given->bundle, given->sealed_bundle)
                    : has_authority ? admit(directory, *given)
                                    : apply_cards(directory, given->cards);
  if (!done) {
    return setup_failed(done.error());
  }
  std::vector<std::string> steps;
  if (!given->bundle && has_authority) {
    steps.push_back("take " + directory.bundle().string() +
                    " to every other node, and there: cosignerctl peers import cluster.bundle");
  }
  if (given->bundle || has_authority) {
    std::ranges::move(steps_after_import(directory), std::back_inserter(steps));
  } else {
    steps.emplace_back("where the node runs: cosignerctl reload takes the list of peers in");
  }
  if (context.json) {
    Json said = plan_json(*planned);
    said["next"] = steps;
    context.out << said.dump() << "\n";
  } else {
    print_steps(context, steps);
  }
  return {};
}

}  // namespace cosigner::ctl
