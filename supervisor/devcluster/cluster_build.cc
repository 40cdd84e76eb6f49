// A new cluster: its directory, keys, configurations, servers and nodes. See cluster.h.

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "ipc/key_file.h"
#include "supervisor/devcluster/cluster.h"
#include "supervisor/devcluster/ports.h"
#include "supervisor/service/clock.h"

namespace cosigner::devcluster {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kClusterName = "dev";
constexpr std::size_t kMaxSocketPath = 107;

std::string url(std::uint16_t port) {
  return "nats://127.0.0.1:" + std::to_string(port);
}

}  // namespace

/// The directory must be new or empty, or hold what a failed `up` left.
Expected<void> Cluster::prepare_directory() {
  std::error_code error;
  if (fs::exists(layout_.root, error) && !fs::is_empty(layout_.root, error)) {
    auto state = existing();
    if (!state || state->complete) {
      return fail(ErrorCode::kAlreadyExists,
                  layout_.root.string() +
                      " is not empty: choose another directory, or use `start` for a cluster that "
                      "was made there before.");
    }
    if (auto ended = end_everything(*state); !ended) {
      return ended;
    }
    lock_.reset();
    fs::remove_all(layout_.root, error);
  }
  const std::string longest = layout_.node(kMaxNodes).socket().string();
  if (longest.size() > kMaxSocketPath) {
    return fail(ErrorCode::kBadRequest,
                layout_.root.string() + " is too long: a socket's path has at most 107 bytes.");
  }
  if (auto made = make_directory(layout_.root); !made) {
    return made;
  }
  if (auto made = make_directory(layout_.broker()); !made) {
    return made;
  }
  return lock();
}

Expected<void> Cluster::up(const UpOptions& options) {
  if (options.nodes < 2 || options.nodes > kMaxNodes || options.threshold < 2 ||
      options.threshold > options.nodes) {
    return fail(ErrorCode::kBadRequest, "a cluster has 2 to 32 nodes, and 2 to all of them sign.");
  }
  // cosignerd finds its worker itself: beside itself, or where the package puts it.
  if (const auto program = environment_.programs / "cosignerd";
      ::access(program.c_str(), X_OK) != 0) {
    return fail(
        ErrorCode::kBadRequest,
        program.string() + " is missing: build everything, or name the folder with --programs.");
  }
  if (auto prepared = prepare_directory(); !prepared) {
    return prepared;
  }
  State state;
  state.topology = options.topology;
  state.nodes = options.nodes;
  state.threshold = options.threshold;
  auto built = build(options, state);
  if (!built) {
    environment_.say("it failed; ending what was started");
    if (auto ended = end_everything(state); !ended) {
      built.error().message += " " + ended.error().message;
    }
    return built;
  }
  state.complete = true;
  return save_state(layout_, state);
}

Expected<void> Cluster::build(const UpOptions& options, State& state) {
  SystemRandom random;
  if (auto saved = save_state(layout_, state); !saved) {
    return saved;
  }
  std::vector<std::string> names;
  for (unsigned k = 1; k <= options.nodes; ++k) {
    names.push_back(layout_.node(k).name);
  }
  environment_.say("making keys and configurations for " + std::to_string(options.nodes) +
                   " nodes");
  const BrokerIdentity identity = make_broker_identity(
      kClusterName, names, static_cast<std::int64_t>(supervisor::wall_seconds()), random);
  if (auto made = create_key_file(layout_.initiator_key().string(), random); !made) {
    return made;
  }
  const auto initiator = load_identity_file(layout_.initiator_key().string());
  if (!initiator) {
    return std::unexpected(initiator.error());
  }
  std::vector<ipc::Peer> peers;
  for (unsigned k = 1; k <= options.nodes; ++k) {
    const NodeLayout node = layout_.node(k);
    auto peer = make_node_keys(node, identity.nodes.at(node.name), random);
    if (!peer) {
      return std::unexpected(peer.error());
    }
    peers.push_back(std::move(*peer));
  }

  environment_.say(options.topology == Topology::kLeaf
                       ? "starting nats-server: a hub, and a leaf for each node"
                       : "starting nats-server");
  const bool leaves = options.topology == Topology::kLeaf;
  std::uint16_t client_port = 0;
  std::uint16_t hub_port = 0;
  const auto hub = start_server(state, leaves ? "hub" : "broker", [&]() -> Expected<std::string> {
    const auto port = free_port(random);
    const auto leaf_port = free_port(random);
    if (!port || !leaf_port || *port == *leaf_port) {
      return fail(ErrorCode::kOverloaded, "no free ports on 127.0.0.1.");
    }
    client_port = *port;
    hub_port = *leaf_port;
    return server_configuration(identity,
                                {.name = leaves ? "hub" : "broker",
                                 .port = client_port,
                                 .leaf_listen_port = leaves ? hub_port : std::uint16_t{0}});
  });
  if (!hub) {
    return hub;
  }
  for (unsigned k = 1; k <= options.nodes; ++k) {
    const NodeLayout node = layout_.node(k);
    std::uint16_t port = client_port;
    if (leaves) {
      const std::string name = "leaf-" + node.name;
      const fs::path credentials = layout_.broker() / (name + ".creds");
      if (auto written = write_private(credentials, identity.leaf_credentials.at(node.name));
          !written) {
        return written;
      }
      const auto started = start_server(state, name, [&]() -> Expected<std::string> {
        const auto found = free_port(random);
        if (!found) {
          return std::unexpected(found.error());
        }
        port = *found;
        return server_configuration(identity, {.name = name,
                                               .port = port,
                                               .hub_port = hub_port,
                                               .hub_credentials_file = credentials.string()});
      });
      if (!started) {
        return started;
      }
    }
    const NodeFacts facts{.cluster = std::string(kClusterName),
                          .broker_url = url(port),
                          .broker_account = identity.account,
                          .overrides = options.overrides};
    if (auto written = write_node_configuration(node, facts, peers, initiator->public_key());
        !written) {
      return written;
    }
  }

  nlohmann::ordered_json cluster = {{"cluster", kClusterName},
                                    {"url", url(client_port)},
                                    {"threshold", options.threshold},
                                    {"initiator", to_hex(initiator->public_key())},
                                    {"nodes", nlohmann::ordered_json::array()}};
  for (const ipc::Peer& peer : peers) {
    cluster["nodes"].push_back({{"node", peer.node}, {"identity", to_hex(peer.identity)}});
  }
  if (auto written = write_private(layout_.cluster(), cluster.dump(2) + "\n"); !written) {
    return written;
  }
  if (auto written = write_private(layout_.client_credentials(), identity.client_credentials);
      !written) {
    return written;
  }
  if (auto written = write_env(state); !written) {
    return written;
  }

  environment_.say("starting " + std::to_string(options.nodes) + " nodes");
  std::vector<unsigned> numbers;
  for (unsigned k = 1; k <= options.nodes; ++k) {
    if (auto started = start_node(state, k); !started) {
      return started;
    }
    numbers.push_back(k);
  }
  return wait_ready(state, numbers);
}

Expected<void> Cluster::write_env(const State& state) {
  const auto line = [](std::string_view name, const std::string& value) {
    return "export " + std::string(name) + "=" + shell_quoted(value) + "\n";
  };
  std::string text = "# Written by cosigner-devcluster; to be sourced by a shell.\n";
  text += "export PATH=" + shell_quoted(environment_.programs.string()) + ":\"$PATH\"\n";
  text += line("COSIGNER_SOCKET", layout_.node(1).socket().string());
  text += line("COSIGNER_INITIATOR", layout_.initiator_key().string());
  text += line("COSIGNER_THRESHOLD", std::to_string(state.threshold));
  return write_private(layout_.env(), text);
}

}  // namespace cosigner::devcluster
