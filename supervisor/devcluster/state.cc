#include "supervisor/devcluster/state.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

namespace cosigner::devcluster {
namespace {

using Json = nlohmann::ordered_json;

/// Start times count from the boot, so they name processes of one boot only.
std::string boot_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string text;
  std::getline(file, text);
  return text;
}

bool is_server(const State& state, const std::string& name) {
  return std::ranges::find(state.servers, name) != state.servers.end();
}

std::vector<ProcessIdentity> select(const State& state, bool servers) {
  std::vector<ProcessIdentity> out;
  for (const auto& [name, process] : state.running) {
    if (is_server(state, name) == servers) {
      out.push_back(process);
    }
  }
  return out;
}

}  // namespace

std::string_view topology_name(Topology topology) {
  return topology == Topology::kLeaf ? "leaf" : "single";
}

std::vector<ProcessIdentity> State::node_processes() const {
  return select(*this, false);
}
std::vector<ProcessIdentity> State::server_processes() const {
  return select(*this, true);
}

Expected<std::optional<State>> load_state(const Layout& layout) {
  std::ifstream file(layout.state());
  if (!file) {
    return std::nullopt;
  }
  try {
    const Json json = Json::parse(file);
    State state;
    state.topology = json.at("topology") == "leaf" ? Topology::kLeaf : Topology::kSingle;
    state.nodes = json.at("nodes").get<unsigned>();
    state.threshold = json.at("threshold").get<unsigned>();
    state.complete = json.at("complete").get<bool>();
    state.servers = json.at("servers").get<std::vector<std::string>>();
    if (json.at("boot") == boot_id()) {
      for (const auto& [name, process] : json.at("running").items()) {
        state.running[name] = {process.at("pid").get<int>(),
                               process.at("start_time").get<std::uint64_t>()};
      }
    }
    return state;
  } catch (const Json::exception& error) {
    return fail(ErrorCode::kStorageFailed,
                layout.state().string() + " cannot be read: " + error.what() + ".");
  }
}

Expected<void> save_state(const Layout& layout, const State& state) {
  Json running = Json::object();
  for (const auto& [name, process] : state.running) {
    running[name] = {{"pid", process.pid}, {"start_time", process.start_time}};
  }
  const Json json = {{"topology", topology_name(state.topology)},
                     {"nodes", state.nodes},
                     {"threshold", state.threshold},
                     {"complete", state.complete},
                     {"servers", state.servers},
                     {"boot", boot_id()},
                     {"running", running}};
  return write_private(layout.state(), json.dump(2) + "\n");
}

}  // namespace cosigner::devcluster
