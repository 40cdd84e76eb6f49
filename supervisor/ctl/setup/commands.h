#pragma once
// The commands by which nodes become a cluster, and programs its clients: init, peers export, peers
// import, client. They work on files; no node need run.

#include <cstdint>
#include <string>
#include <vector>

#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/setup/node_directory.h"

namespace cosigner::ctl {

struct InitArguments {
  std::string directory = kSystemDirectory;
  bool first = false;
  bool join = false;
  std::string cluster;
  std::string node;
  std::vector<std::string> hubs;  ///< HOST[:PORT]
  std::uint16_t threshold = 2;
  std::string credentials = "auto";  ///< auto, encrypted, plain
  std::string recovery_file;       ///< where a copy of the key-encryption key goes; empty: nowhere
  std::string key_encryption_key;  ///< file with one to use instead of a new one
  std::string broker_listen = "127.0.0.1:4222";
  std::string hub_listen = "127.0.0.1:4223";
};
Outcome<void> run_init(const Context& context, const InitArguments& arguments);

/// Prints this node's card, or the cluster's bundle.
Outcome<void> run_peers_export(const Context& context, const std::string& directory, bool bundle,
                               const std::string& out_file);
/// `confirmed`: the fingerprints have been compared. Otherwise asks, on a terminal.
Outcome<void> run_peers_import(const Context& context, const std::string& directory,
                               const std::vector<std::string>& files, bool confirmed);

/// Of credentials for programs, where nobody says how long. There is no list of revoked ones, so a
/// file that got lost must not work for ever; doctor warns a month before the end.
inline constexpr std::uint32_t kClientDays = 365;

struct ClientArguments {
  std::string directory = kSystemDirectory;
  std::string out_file;
  std::uint32_t days = kClientDays;  ///< until they expire; 0: never
};
/// NATS credentials for one more program, where the authority is.
Outcome<void> run_client(const Context& context, const ClientArguments& arguments);

}  // namespace cosigner::ctl
