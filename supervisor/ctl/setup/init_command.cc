#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>

#include "ipc/key_file.h"
#include "ipc/names.h"
#include "ipc/unique_fd.h"
#include "supervisor/config/listen_address.h"
#include "supervisor/ctl/json.h"
#include "supervisor/ctl/setup/authority.h"
#include "supervisor/ctl/setup/commands.h"
#include "supervisor/ctl/setup/membership.h"
#include "supervisor/ctl/setup/own_files.h"
#include "supervisor/ctl/setup/support.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

using namespace setup;

namespace fs = std::filesystem;

constexpr const char* kHubPort = "7422";
constexpr std::size_t kMaxHostName = 253;

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
         "It opens every share of this node that a copy of its store holds. Print it or keep it on "
         "a medium in a safe,\nand delete this file. It is not enough for a new host, which needs "
         "the node's other three credentials as well:\n/usr/share/doc/cosigner/README.Debian, "
         "\"Backup\".\n\n" +
         std::string(key.begin(), key.end());
}

std::vector<std::string> steps_after_init(const NodeDirectory& directory,
                                          const InitArguments& arguments, CredentialForm form) {
  std::vector<std::string> steps;
  const std::string root = directory.root().string();
  if (arguments.recovery_file.empty()) {
    steps.push_back(
        "keep a copy of the key-encryption key off this host: without it, copies of the store are "
        "worthless (" +
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
        "bring its cluster.bundle back, and here: cosignerctl peers import cluster.bundle; compare "
        "the authority, the initiators and the nodes with what the operator there reads to you");
    return steps;
  }
  steps.push_back("on each other machine: cosignerctl init --join --cluster " + arguments.cluster +
                  " --node NAME");
  steps.push_back("bring their cards here: cosignerctl peers import CARD...");
  if (arguments.hubs.size() > 1) {
    steps.push_back("take what is in " + directory.authority().string() +
                    "/hub-HOST to the host of each other hub, and there: install -m 640 -g nats "
                    "hub-HOST/* /etc/cosigner/broker/ && systemctl enable --now cosigner-nats@hub "
                    "(ports 7422 and, between hubs, 6222)");
  }
  steps.push_back("take " + directory.bundle().string() +
                  " to each of them: cosignerctl peers import cluster.bundle");
  steps.emplace_back(
      "read the fingerprints above (node, authority, initiator) to their operators, over the "
      "telephone");
  return steps;
}

Outcome<void> write_recovery(const InitArguments& arguments, const broker::SecretText& key) {
  const NodeDirectory anywhere(fs::absolute(arguments.recovery_file).parent_path());
  const std::string text = recovery_text(arguments, key);
  if (auto written = anywhere.write_secret(fs::absolute(arguments.recovery_file), text); !written) {
    return setup_failed(written.error());
  }
  return {};
}

/// Before anything is made: a second copy is not written over a first, and an `init` that has made
/// everything but the copy cannot be had again.
Outcome<void> check_recovery_file(const std::string& path) {
  const fs::path file = fs::absolute(path);
  if (const ipc::UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
      !fd) {
    const bool there = errno == EEXIST;
    return failed(
        ExitStatus::kCannotWrite, there ? ErrorCode::kAlreadyExists : ErrorCode::kStorageFailed,
        file.string() + (there ? " is there already" : ": " + std::string(std::strerror(errno))) +
            ": nothing was changed.");
  }
  ::unlink(file.c_str());
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

struct Begun {
  // What the operators of the other nodes compare before they believe the first bundle.
  Ed25519PublicKey authority;
  Ed25519PublicKey initiator;
  std::int64_t client_ends_s = 0;  ///< of client.creds
};

/// The authority, with this node admitted, and what its bundle makes of this node.
Expected<Begun> begin_cluster(const NodeDirectory& directory, const InitArguments& arguments,
                              const MadeNode& made, Random& random) {
  std::error_code ignored;
  if (!fs::exists(directory.operator_key(), ignored)) {
    if (auto created = create_key_file(directory.operator_key().string(), random); !created) {
      return std::unexpected(created.error());
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
    return std::unexpected(admitted.error());
  }
  const std::int64_t now = now_s();
  const std::int64_t client_ends = end_of_days(now, kClientDays);
  const auto client = authority->client_credentials(now, client_ends, random);
  if (!client) {
    return std::unexpected(client.error());
  }
  if (auto written = directory.write_secret(directory.client_credentials(), client->text);
      !written) {
    return std::unexpected(written.error());
  }
  if (auto published = publish_here(directory, *authority); !published) {
    return std::unexpected(published.error());
  }
  return Begun{.authority = authority->key(),
               .initiator = initiator->public_key(),
               .client_ends_s = client_ends};
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
  if (!arguments.recovery_file.empty()) {
    if (auto writable = check_recovery_file(arguments.recovery_file); !writable) {
      return writable;
    }
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
  std::optional<Begun> begun;
  if (arguments.first) {
    const auto cluster = begin_cluster(directory, arguments, *made, random);
    if (!cluster) {
      return setup_failed(cluster.error());
    }
    begun = *cluster;
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
    Json said{{"node", made->card.node},
              {"cluster", made->card.cluster},
              {"fingerprint", fingerprint(made->card.identity)},
              {"identity", to_hex(made->card.identity)},
              {"credentials", form},
              {"card", directory.card().string()},
              {"next", steps}};
    if (begun) {
      said["authority"] = fingerprint(begun->authority);
      said["initiator"] = fingerprint(begun->initiator);
      said["client_credentials"] = {{"file", directory.client_credentials().string()},
                                    {"expires_at", begun->client_ends_s}};
    }
    context.out << said.dump() << "\n";
    return {};
  }
  Table table({"node", made->card.node + " of cluster " + made->card.cluster});
  table.row({"fingerprint", fingerprint(made->card.identity)});
  if (begun) {
    table.row({"authority", fingerprint(begun->authority)});
    table.row({"initiator", fingerprint(begun->initiator)});
  }
  table.row(
      {"credentials", std::string(form) + ", in " + (directory.root() / "credentials").string()});
  table.row({"card", directory.card().string()});
  if (begun) {
    table.row({"authority's keys", directory.authority().string() + " (off line between uses)"});
    table.row({"initiator's key", directory.operator_key().string() + " (signs your requests)"});
    table.row({"a program's NATS credentials", directory.client_credentials().string() +
                                                   " (until " + date_text(begun->client_ends_s) +
                                                   ")"});
  }
  context.out << table.text();
  print_steps(context, steps);
  return {};
}

}  // namespace cosigner::ctl
