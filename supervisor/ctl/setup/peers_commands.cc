#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "supervisor/ctl/json.h"
#include "supervisor/ctl/setup/authority.h"
#include "supervisor/ctl/setup/commands.h"
#include "supervisor/ctl/setup/membership.h"
#include "supervisor/ctl/setup/support.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

using namespace setup;
namespace fs = std::filesystem;
std::vector<std::string> steps_after_import(const NodeDirectory& directory) {
  if (!directory.system()) {
    return {"start nats-server --config " + (directory.broker() / "leaf.conf").string(),
            "start cosignerd --config " + directory.configuration().string()};
  }
  const bool hub = Authority::present(directory);
  return {"systemctl disable --now nats-server   (Debian's own instance, which has port 4222)",
          std::string("systemctl enable cosigner-nats@leaf cosigner") +
              (hub ? " cosigner-nats@hub" : ""),
          std::string("systemctl restart ") + (hub ? "cosigner-nats@hub " : "") +
              "cosigner-nats@leaf cosigner",
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
  }
  return "new";
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

bool ask(const std::string& question) {
  std::cerr << question << " Type yes: " << std::flush;
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "yes";
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
  if (!card) {
    return setup_failed(card.error());
  }
  const auto text = read_file(bundle ? directory.bundle() : directory.card());
  if (!text) {
    return failed(ExitStatus::kConfiguration, ErrorCode::kBadRequest,
                  bundle ? "this node knows no bundle: import one first." : text.error().message);
  }
  if (!out_file.empty()) {
    std::ofstream file(out_file);
    if (!(file << *text) || !file.flush()) {
      return failed(ExitStatus::kCannotWrite, ErrorCode::kStorageFailed,
                    out_file + " cannot be written.");
    }
  }
  if (context.json) {
    context.out << Json{{"node", card->node},
                        {"cluster", card->cluster},
                        {"fingerprint", fingerprint(card->identity)},
                        {bundle ? "bundle" : "card", *text}}
                       .dump()
                << "\n";
  } else if (out_file.empty()) {
    context.out << *text;
  } else {
    context.out << card->node << " of cluster " << card->cluster << ": "
                << fingerprint(card->identity) << "\n";
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
  const auto plan =
      given->bundle ? plan_bundle(directory, *given->bundle) : plan_cards(directory, given->cards);
  if (!plan) {
    return setup_failed(plan.error());
  }
  Json nodes = Json::array();
  Table table({"NODE", "FINGERPRINT", ""});
  bool any_new = false;
  for (const PeerChange& change : *plan) {
    any_new = any_new || change.status == PeerStatus::kNew;
    nodes.push_back({{"node", change.node},
                     {"fingerprint", fingerprint(change.identity)},
                     {"identity", to_hex(change.identity)},
                     {"status", status_name(change.status)}});
    table.row({change.node, fingerprint(change.identity), status_name(change.status)});
  }
  const std::string authority = given->bundle ? fingerprint(given->bundle->authority) : "";
  if (!context.json) {
    context.out << table.text();
    if (!authority.empty()) {
      context.out << "authority  " << authority << "\n";
    }
    context.out << std::flush;
  }
  if (any_new && !confirmed) {
    const bool terminal = ::isatty(STDIN_FILENO) == 1 && !context.json;
    if (!terminal || !ask("Compare each new fingerprint with what that node's operator reads to "
                          "you. All equal?")) {
      return usage(
          "nothing was imported: compare the new fingerprints with those operators' own, then "
          "confirm with --yes.");
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
    steps.emplace_back("restart the node: the list of peers is read at its start");
  }
  if (context.json) {
    context.out << Json{{"nodes", nodes}, {"authority", authority}, {"next", steps}}.dump() << "\n";
  } else {
    print_steps(context, steps);
  }
  return {};
}

}  // namespace cosigner::ctl
