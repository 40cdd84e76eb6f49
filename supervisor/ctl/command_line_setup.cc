// Commands by which nodes become a cluster, and programs its clients.

#include <CLI/CLI.hpp>

#include "supervisor/ctl/command_line.h"

namespace cosigner::ctl {

void add_setup_commands(CLI::App& app, CommandLine& line) {
  CLI::App* init = add(app, line, "init", "set this host up as a node of a cluster",
                       [&line](const Context& context) { return run_init(context, line.init); });
  auto* first = init->add_flag("--first", line.init.first, "begin a cluster with this node");
  init->add_flag("--join", line.init.join, "make a node that joins one")->excludes(first);
  init->add_option("--cluster", line.init.cluster, "name of the cluster")->required();
  init->add_option("--node", line.init.node, "name of this node")->required();
  init->add_option("--hub", line.init.hubs,
                   "HOST[:PORT] where the other nodes reach this one's nats-server (repeatable: "
                   "further hubs; port 7422)")
      ->allow_extra_args(false);
  init->add_option("--threshold", line.init.threshold, "of new keys, unless keygen says otherwise")
      ->capture_default_str();
  init->add_option("--dir", line.init.directory, "where the node's files go")
      ->capture_default_str();
  init->add_option("--credentials", line.init.credentials,
                   "encrypted (systemd-creds), plain (files), or auto: encrypted where it works")
      ->check(CLI::IsMember({"auto", "encrypted", "plain"}))
      ->capture_default_str();
  init->add_option("--recovery-file", line.init.recovery_file,
                   "write a copy of the key-encryption key, to print and lock away");
  init->add_option("--key-encryption-key", line.init.key_encryption_key,
                   "file with the key-encryption key to use instead of a new one");
  init->add_option("--broker-listen", line.init.broker_listen,
                   "this node's nats-server, for the node itself")
      ->capture_default_str();
  init->add_option("--hub-listen", line.init.hub_listen, "the hub's, for clients on its host")
      ->capture_default_str();

  CLI::App* peers =
      app.add_subcommand("peers", "the nodes of the cluster; exchange of their cards");
  peers->fallthrough();
  peers->require_subcommand(0, 1);
  peers->callback([&line, peers] {
    if (peers->get_subcommands().empty()) {
      line.action = run_peers;
    }
  });
  CLI::App* exporting = add(
      *peers, line, "export", "print this node's card, signed", [&line](const Context& context) {
        return run_peers_export(context, line.init.directory, line.bundle, line.file_out);
      });
  exporting->add_flag("--bundle", line.bundle, "the whole cluster's bundle instead");
  exporting->add_option("--out", line.file_out, "write it to a file");
  CLI::App* importing =
      add(*peers, line, "import", "take in other nodes' cards, or the bundle",
          [&line](const Context& context) {
            return run_peers_import(context, line.init.directory, line.files, line.confirmed);
          });
  importing->add_option("FILE", line.files, "cards, or one bundle")->required();
  importing->add_flag("--yes", line.confirmed, "the fingerprints have been compared");
  for (CLI::App* command : {exporting, importing}) {
    command->add_option("--dir", line.init.directory, "where the node's files are")
        ->capture_default_str();
  }
  CLI::App* client =
      add(app, line, "client", "NATS credentials for one more program, where the authority is",
          [&line](const Context& context) { return run_client(context, line.client); });
  client->add_option("--out", line.client.out_file, "where they go")->required();
  client->add_option("--days", line.client.days, "until they expire (0: never)")
      ->check(CLI::Range(0, 36500))
      ->capture_default_str();
  client->add_option("--dir", line.client.directory, "where the node's files are")
      ->capture_default_str();
}

}  // namespace cosigner::ctl
