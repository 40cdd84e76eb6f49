#pragma once
// What the development cluster remembers between its commands: how it was made and which processes
// it started.

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "supervisor/devcluster/broker_config.h"
#include "supervisor/devcluster/layout.h"
#include "supervisor/devcluster/process.h"

namespace cosigner::devcluster {

struct State {
  Topology topology = Topology::kSingle;
  unsigned nodes = 0;
  unsigned threshold = 0;
  bool complete = false;             ///< `up` went through; otherwise it failed or was killed
  std::vector<std::string> servers;  ///< nats-server names, in starting order
  std::map<std::string, ProcessIdentity> running;  ///< by name: node<k>, or a server's

  /// Every process that may still run, nodes before servers: the order to end them in.
  [[nodiscard]] std::vector<ProcessIdentity> node_processes() const;
  [[nodiscard]] std::vector<ProcessIdentity> server_processes() const;
};

/// Nothing when there is no cluster in this directory. Processes of an earlier boot are dropped.
[[nodiscard]] Expected<std::optional<State>> load_state(const Layout& layout);
[[nodiscard]] Expected<void> save_state(const Layout& layout, const State& state);

[[nodiscard]] std::string_view topology_name(Topology topology);

}  // namespace cosigner::devcluster
