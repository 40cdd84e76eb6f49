#include "supervisor/ctl/setup/commands.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "ipc/key_file.h"
#include "ipc/names.h"
#include "supervisor/config/listen_address.h"
#include "supervisor/ctl/json.h"
#include "supervisor/ctl/setup/authority.h"
#include "supervisor/ctl/setup/membership.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHubPort = "7422";
constexpr std::size_t kMaxHostName = 253;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::unexpected<Failure> usage(std::string message) {
  return failed(ExitStatus::kUsage, ErrorCode::kBadRequest, std::move(message));
}

std::unexpected<Failure> setup_failed(const Error& error) {
  const ExitStatus status = error.code == ErrorCode::kStorageFailed ? ExitStatus::kCannotWrite
                                                                    : ExitStatus::kConfiguration;
  return std::unexpected(Failure{status, error, false});
}

/// HOST, HOST:PORT, [ADDRESS]:PORT → with a port.
std::optional<std::string> hub_address(const std::string& text) {
  const bool bracketed = text.starts_with('[');
  const std::size_t end_of_host = bracketed ? text.find(']') : text.rfind(':');
  std::string host = text;
  std::string port = kHubPort;
  if (bracketed && end_of_host == std::string::npos) {
    return std::nullopt;
  }
  if (bracketed) {
    host = text.substr(0, end_of_host + 1);
    if (text.size() > host.size()) {
      port = text.substr(host.size() + 1);
    }
  } else if (end_of_host != std::string::npos) {
    host = text.substr(0, end_of_host);
    port = text.substr(end_of_host + 1);
  }
  const auto allowed = [bracketed](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || (bracketed && (c == ':' || c == '[' || c == ']'));
  };
  if (host.empty() || host.size() > kMaxHostName || !std::ranges::all_of(host, allowed) ||
      !supervisor::parse_port(port)) {
    return std::nullopt;
  }
  return host + ":" + port;
}

Outcome<void> check_arguments(InitArguments& arguments) {
  if (arguments.first == arguments.join) {
    return usage(
        "is this the cluster's first node, or does it join? Use --first on one machine and --join "
        "on each of the others.");
  }
  if (!valid_cluster_name(arguments.cluster)) {
    return usage("--cluster takes 1 to 32 of a-z, 0-9 and '-', the same on every node.");
  }
  if (!valid_node_name(arguments.node)) {
    return usage("--node takes 1 to 32 of a-z, 0-9 and '-', not 'all' or 'none'.");
  }
  if (arguments.threshold < 2 || arguments.threshold > 32) {
    return usage("--threshold takes a number from 2 to the number of nodes.");
  }
  if (arguments.first && arguments.hubs.empty()) {
    return usage(
        "at which address will the other machines reach this one's nats-server? Use --hub "
        "HOST[:PORT].");
  }
  if (arguments.join && !arguments.hubs.empty()) {
    return usage("--hub goes with --first; a node that joins learns it from the bundle.");
  }
  for (std::string& hub : arguments.hubs) {
    const auto address = hub_address(hub);
    if (!address) {
      return usage("--hub takes HOST[:PORT], and '" + hub + "' is none.");
    }
    hub = *address;
  }
  for (const std::string* listen : {&arguments.broker_listen, &arguments.hub_listen}) {
    if (!supervisor::parse_listen_address(*listen)) {
      return usage("'" + *listen + "' is no address and port of this host's loopback.");
    }
  }
  return {};
}

std::optional<CredentialForm> credential_form(const std::string& name) {
  return name == "plain"       ? std::optional(CredentialForm::kPlain)
         : name == "encrypted" ? std::optional(CredentialForm::kEncrypted)
                               : std::nullopt;
}

/// A page to print and lock away.
std::string recovery_text(const InitArguments& arguments, const broker::SecretText& key) {
  return "cosigner recovery copy: the key-encryption key of node " + arguments.node +
         " of cluster " + arguments.cluster +
         "\n\n"
         "It opens every share of this node that a backup holds. Print it or keep it on a medium "
         "in a safe,\nand delete this file. A new host uses it so, with the line below alone in a "
         "file of mode 0600:\n\n"
         "    cosignerctl init --key-encryption-key FILE ...\n\n" +
         std::string(key.begin(), key.end());
}

std::vector<std::string> steps_after_init(const NodeDirectory& directory,
                                          const InitArguments& arguments, CredentialForm form) {
  std::vector<std::string> steps;
  const std::string root = directory.root().string();
  if (arguments.recovery_file.empty()) {
    steps.push_back(
        "keep a copy of the key-encryption key off this host: without it, backups are worthless (" +
        (form == CredentialForm::kEncrypted
             ? "systemd-creds decrypt --name=" + std::string(kEncryptionCredential) + " " +
                   directory.credential(kEncryptionCredential).string() + " -"
             : directory.credential(kEncryptionCredential).string()) +
        ")");
  } else {
    steps.push_back("print " + arguments.recovery_file + ", lock it away, delete the file");
  }
  if (directory.system() && form == CredentialForm::kPlain) {
    steps.push_back(
        "systemd-creds cannot encrypt here: mkdir -p /etc/systemd/system/cosigner.service.d && cp "
        "/usr/share/doc/cosigner/examples/plain-credentials.conf "
        "/etc/systemd/system/cosigner.service.d/ && systemctl daemon-reload");
  }
  if (arguments.join) {
    steps.push_back("copy " + directory.card().string() +
                    " to the machine of the cluster's first node, and there: cosignerctl peers "
                    "import " +
                    arguments.node + ".card");
    steps.push_back("read the fingerprint above to the operator there, over the telephone");
    steps.push_back(
        "bring its cluster.bundle back, and here: cosignerctl peers import cluster.bundle");
    return steps;
  }
  steps.push_back("on each other machine: cosignerctl init --join --cluster " + arguments.cluster +
                  " --node NAME");
  steps.push_back("bring their cards here: cosignerctl peers import CARD...");
  steps.push_back("take " + directory.bundle().string() +
                  " to each of them: cosignerctl peers import cluster.bundle");
  return steps;
}

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

void print_steps(const Context& context, const std::vector<std::string>& steps) {
  context.out << "\nNext:\n";
  for (std::size_t i = 0; i < steps.size(); ++i) {
    context.out << "  " << i + 1 << ". " << steps[i] << "\n";
  }
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

Outcome<void> write_recovery(const InitArguments& arguments, const broker::SecretText& key) {
  const NodeDirectory anywhere(fs::absolute(arguments.recovery_file).parent_path());
  const std::string text = recovery_text(arguments, key);
  if (auto written = anywhere.write_secret(fs::absolute(arguments.recovery_file), text); !written) {
    return setup_failed(written.error());
  }
  return {};
}

Outcome<broker::SecretText> given_encryption_key(const std::string& path) {
  // Checked as a key file; the text goes on as it is.
  if (const auto key = load_key_file(path); !key) {
    return std::unexpected(Failure{ExitStatus::kConfiguration, key.error(), false});
  }
  auto text = read_secret(path);
  if (!text) {
    return std::unexpected(Failure{ExitStatus::kNoInput, text.error(), false});
  }
  return std::move(*text);
}

/// The authority, with this node admitted, and what its bundle makes of this node.
Expected<void> begin_cluster(const NodeDirectory& directory, const InitArguments& arguments,
                             const MadeNode& made, Random& random) {
  std::error_code ignored;
  if (!fs::exists(directory.operator_key(), ignored)) {
    if (auto created = create_key_file(directory.operator_key().string(), random); !created) {
      return created;
    }
  }
  const auto initiator = load_identity_file(directory.operator_key().string());
  if (!initiator) {
    return std::unexpected(initiator.error());
  }
  auto authority = Authority::create(directory,
                                     {.cluster = arguments.cluster,
                                      .hubs = arguments.hubs,
                                      .hub_listen = arguments.hub_listen,
                                      .threshold = arguments.threshold,
                                      .initiator = initiator->public_key()},
                                     now_s(), random);
  if (!authority) {
    return std::unexpected(authority.error());
  }
  if (auto admitted = authority->admit(made.sealed); !admitted) {
    return admitted;
  }
  const auto client = authority->client_credentials(now_s(), random);
  if (!client) {
    return std::unexpected(client.error());
  }
  if (auto written = directory.write_secret(directory.client_credentials(), *client); !written) {
    return written;
  }
  const auto sealed = authority->publish(now_s());
  const auto bundle =
      sealed ? open_bundle(*sealed) : Expected<Bundle>(std::unexpected(sealed.error()));
  if (!bundle) {
    return std::unexpected(bundle.error());
  }
  return apply_bundle(directory, *bundle, *sealed);
}

}  // namespace

Outcome<void> run_init(const Context& context, const InitArguments& given) {
  InitArguments arguments = given;
  if (auto checked = check_arguments(arguments); !checked) {
    return checked;
  }
  const NodeDirectory directory(arguments.directory);
  if (directory.set_up()) {
    const auto card = own_card(directory);
    return failed(
        ExitStatus::kConfiguration, ErrorCode::kAlreadyExists,
        directory.root().string() + " is set up already" +
            (card ? ", as node " + card->node + " of cluster " + card->cluster : std::string()) +
            ": nothing was changed.");
  }
  if (Authority::present(directory)) {
    return failed(ExitStatus::kConfiguration, ErrorCode::kAlreadyExists,
                  directory.authority().string() +
                      " is there without a node: if an earlier init was interrupted, remove it; "
                      "nothing was changed.");
  }
  NewNode node{.cluster = arguments.cluster,
               .node = arguments.node,
               .broker_listen = arguments.broker_listen,
               .form = credential_form(arguments.credentials),
               .key_encryption_key = std::nullopt};
  if (!arguments.key_encryption_key.empty()) {
    auto key = given_encryption_key(arguments.key_encryption_key);
    if (!key) {
      return std::unexpected(key.error());
    }
    node.key_encryption_key = std::move(*key);
  }
  SystemRandom random;
  const auto made = make_node(directory, node, random);
  if (!made) {
    return setup_failed(made.error());
  }
  if (arguments.first) {
    if (auto begun = begin_cluster(directory, arguments, *made, random); !begun) {
      return setup_failed(begun.error());
    }
  }
  if (!arguments.recovery_file.empty()) {
    if (auto written = write_recovery(arguments, made->key_encryption_key); !written) {
      return written;
    }
  }
  // Last: from here on the directory counts as set up.
  if (auto written =
          directory.write_credential(kEncryptionCredential, made->key_encryption_key, made->form);
      !written) {
    return setup_failed(written.error());
  }
  const std::vector<std::string> steps = steps_after_init(directory, arguments, made->form);
  const char* form = made->form == CredentialForm::kEncrypted ? "encrypted" : "plain";
  if (context.json) {
    context.out << Json{{"node", made->card.node},
                        {"cluster", made->card.cluster},
                        {"fingerprint", fingerprint(made->card.identity)},
                        {"identity", to_hex(made->card.identity)},
                        {"credentials", form},
                        {"card", directory.card().string()},
                        {"next", steps}}
                       .dump()
                << "\n";
    return {};
  }
  Table table({"node", made->card.node + " of cluster " + made->card.cluster});
  table.row({"fingerprint", fingerprint(made->card.identity)});
  table.row(
      {"credentials", std::string(form) + ", in " + (directory.root() / "credentials").string()});
  table.row({"card", directory.card().string()});
  if (arguments.first) {
    table.row({"authority", directory.authority().string() + " (keep it off line between uses)"});
    table.row({"initiator", directory.operator_key().string() + " (signs your requests)"});
  }
  context.out << table.text();
  print_steps(context, steps);
  return {};
}

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

namespace {

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
  const auto sealed = authority->publish(now_s());
  const auto bundle =
      sealed ? open_bundle(*sealed) : Expected<Bundle>(std::unexpected(sealed.error()));
  if (!bundle) {
    return std::unexpected(bundle.error());
  }
  return apply_bundle(directory, *bundle, *sealed);
}

}  // namespace

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
