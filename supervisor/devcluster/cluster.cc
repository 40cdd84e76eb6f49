#include "supervisor/devcluster/cluster.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "ipc/key_file.h"
#include "supervisor/ctl/control_client.h"
#include "supervisor/ctl/json.h"
#include "supervisor/devcluster/ports.h"

namespace cosigner::devcluster {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::string_view kClusterName = "dev";
/// A node drains its workers for up to 10 s.
constexpr std::chrono::seconds kGrace{15};
constexpr std::size_t kMaxSocketPath = 107;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string url(std::uint16_t port) {
  return "nats://127.0.0.1:" + std::to_string(port);
}

/// Debian installs nats-server in /usr/sbin, which is not in everybody's PATH.
Expected<std::string> find_nats_server() {
  const char* path = std::getenv("PATH");
  std::string folders = (path != nullptr ? std::string(path) : std::string()) + ":/usr/sbin";
  for (std::size_t begin = 0; begin <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', begin), folders.size());
    const std::string candidate = folders.substr(begin, end - begin) + "/nats-server";
    if (::access(candidate.c_str(), X_OK) == 0) {
      return candidate;
    }
    begin = end + 1;
  }
  return fail(ErrorCode::kBadRequest,
              "nats-server is not installed: on Debian, apt install nats-server.");
}

/// The end of a log, for error messages.
std::string tail(const fs::path& log) {
  std::ifstream file(log);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line);
    if (lines.size() > 8) {
      lines.erase(lines.begin());
    }
  }
  std::string out;
  for (const std::string& line : lines) {
    out += "\n    " + line;
  }
  return out;
}

struct Readiness {
  bool ready = false;
  std::string why;  ///< not, as far as known
};

/// One look through the control socket.
Readiness look(const NodeLayout& node, unsigned nodes) {
  auto client = ctl::ControlClient::connect(node.socket().string());
  if (!client) {
    return {false, "its control socket does not answer"};
  }
  const auto body = client->call("status", ctl::no_arguments(), std::chrono::seconds(5));
  const auto status =
      body ? ctl::parse_body(*body) : ctl::Outcome<ctl::Json>(std::unexpected(body.error()));
  if (!status) {
    return {false, "its status cannot be had: " + status.error().error.message};
  }
  if (!status->is_object() || !status->value("ready", false)) {
    const auto reasons =
        status->is_object() ? status->value("degraded", ctl::Json::array()) : ctl::Json::array();
    return {false, "it is not ready" + (reasons.empty() ? "" : ": " + reasons.dump())};
  }
  unsigned present = 0;
  for (const auto& peer : status->value("peers", ctl::Json::array())) {
    present += peer.value("present", false) || peer.value("self", false) ? 1U : 0U;
  }
  if (present < nodes) {
    return {false, "it sees " + std::to_string(present) + " of " + std::to_string(nodes) +
                       " nodes present"};
  }
  return {true, {}};
}

}  // namespace

Cluster::Cluster(const fs::path& directory, Environment environment)
    : layout_{fs::absolute(directory).lexically_normal()}, environment_(std::move(environment)) {
  if (!layout_.root.has_filename()) {
    layout_.root = layout_.root.parent_path();  // "DIR/" is DIR
  }
}

Expected<void> Cluster::lock() {
  lock_.reset(::open(layout_.lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (!lock_ || ::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::kConflict, "another cosigner-devcluster works on " +
                                          layout_.root.string() + " (or it cannot be written).");
  }
  return {};
}

Expected<State> Cluster::existing() {
  if (!fs::is_directory(layout_.root)) {
    return fail(ErrorCode::kBadRequest, "there is no directory " + layout_.root.string() + ".");
  }
  if (auto locked = lock(); !locked) {
    return std::unexpected(locked.error());
  }
  auto state = load_state(layout_);
  if (!state) {
    return std::unexpected(state.error());
  }
  if (!*state) {
    return fail(ErrorCode::kBadRequest,
                "there is no development cluster in " + layout_.root.string() + ".");
  }
  return std::move(**state);
}

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
  const BrokerIdentity identity = make_broker_identity(kClusterName, names, now_s(), random);
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

Expected<void> Cluster::start_server(
    State& state, const std::string& name,
    const std::function<Expected<std::string>()>& make_configuration) {
  const auto program = find_nats_server();
  if (!program) {
    return std::unexpected(program.error());
  }
  const fs::path file = layout_.broker_configuration(name);
  if (std::ranges::find(state.servers, name) == state.servers.end()) {
    state.servers.push_back(name);
  }
  // Somebody else may take the port between the look and the bind: then with another one.
  for (int tries = 0; tries < 8; ++tries) {
    if (make_configuration) {
      const auto text = make_configuration();
      if (!text) {
        return std::unexpected(text.error());
      }
      if (auto written = write_private(file, *text); !written) {
        return written;
      }
    }
    const auto process = launch({.arguments = {*program, "--config", file.string()},
                                 .log = layout_.broker_log(name),
                                 .environment = {}});
    if (!process) {
      return std::unexpected(process.error());
    }
    state.running[name] = *process;
    if (auto saved = save_state(layout_, state); !saved) {
      return saved;
    }
    const auto end = Clock::now() + std::chrono::seconds(20);
    while (is_running(*process) && Clock::now() < end && !environment_.interrupted) {
      std::ifstream log(layout_.broker_log(name));
      const std::string text((std::istreambuf_iterator<char>(log)), {});
      // The log of this very process: another server on the same port would accept connections too.
      const std::size_t own = text.find("[" + std::to_string(process->pid) + "]");
      if (own != std::string::npos && text.find("Server is ready", own) != std::string::npos) {
        return {};
      }
      std::this_thread::sleep_for(milliseconds(10));
    }
    if (environment_.interrupted) {
      return fail(ErrorCode::kCancelled, "interrupted.");
    }
  }
  return fail(ErrorCode::kInternal,
              "nats-server '" + name + "' does not start:" + tail(layout_.broker_log(name)));
}

Expected<void> Cluster::start_node(State& state, unsigned number) {
  const NodeLayout node = layout_.node(number);
  const auto process = launch({.arguments = {(environment_.programs / "cosignerd").string(),
                                             "--config", node.configuration().string()},
                               .log = node.log(),
                               .environment = {}});
  if (!process) {
    return std::unexpected(process.error());
  }
  state.running[node.name] = *process;
  return save_state(layout_, state);
}

Expected<void> Cluster::wait_ready(const State& state, const std::vector<unsigned>& numbers) {
  const auto end = Clock::now() + environment_.ready_timeout;
  for (const unsigned number : numbers) {
    const NodeLayout node = layout_.node(number);
    for (;;) {
      // Only nodes that run can be seen; one that was stopped on purpose must not hold up `start`.
      unsigned expected = 0;
      for (unsigned k = 1; k <= state.nodes; ++k) {
        const auto found = state.running.find(layout_.node(k).name);
        expected += found != state.running.end() && is_running(found->second) ? 1U : 0U;
      }
      const Readiness readiness = look(node, expected);
      if (readiness.ready) {
        break;
      }
      if (!is_running(state.running.at(node.name))) {
        return fail(ErrorCode::kInternal, node.name + " ended:" + tail(node.log()));
      }
      if (environment_.interrupted) {
        return fail(ErrorCode::kCancelled, "interrupted.");
      }
      if (Clock::now() > end) {
        return fail(ErrorCode::kPeerTimeout,
                    node.name + " did not become ready within " +
                        std::to_string(environment_.ready_timeout.count()) +
                        " s: " + readiness.why + "; the end of its log:" + tail(node.log()));
      }
      std::this_thread::sleep_for(milliseconds(25));
    }
  }
  return {};
}

Expected<void> Cluster::end_everything(State& state) {
  std::vector<ProcessIdentity> left = end_all(state.node_processes(), kGrace);
  const auto servers = end_all(state.server_processes(), std::chrono::seconds(5));
  left.insert(left.end(), servers.begin(), servers.end());
  if (!left.empty()) {
    return fail(ErrorCode::kInternal,
                "process " + std::to_string(left.front().pid) + " could not be ended.");
  }
  state.running.clear();
  return save_state(layout_, state);
}

Expected<void> Cluster::down() {
  auto state = existing();
  if (!state) {
    return std::unexpected(state.error());
  }
  return end_everything(*state);
}

Expected<void> Cluster::start(std::optional<unsigned> node) {
  auto state = existing();
  if (!state) {
    return std::unexpected(state.error());
  }
  if (!state->complete) {
    return fail(ErrorCode::kConflict, "this cluster was never completely made: use `up` again.");
  }
  if (node && (*node < 1 || *node > state->nodes)) {
    return fail(ErrorCode::kBadRequest,
                "this cluster has nodes 1 to " + std::to_string(state->nodes) + ".");
  }
  const auto runs = [&state](const std::string& name) {
    const auto found = state->running.find(name);
    return found != state->running.end() && is_running(found->second);
  };
  for (const std::string& server : std::vector<std::string>(state->servers)) {
    if (!runs(server)) {
      if (auto started = start_server(*state, server, {}); !started) {
        return started;
      }
    }
  }
  std::vector<unsigned> numbers;
  for (unsigned k = node.value_or(1); k <= node.value_or(state->nodes); ++k) {
    if (!runs(layout_.node(k).name)) {
      if (auto started = start_node(*state, k); !started) {
        return started;
      }
    }
    numbers.push_back(k);
  }
  return wait_ready(*state, numbers);
}

Expected<void> Cluster::stop(unsigned node) {
  auto state = existing();
  if (!state) {
    return std::unexpected(state.error());
  }
  const auto found = state->running.find(layout_.node(node).name);
  if (found == state->running.end()) {
    return {};
  }
  if (!end_all({found->second}, kGrace).empty()) {
    return fail(ErrorCode::kInternal,
                "process " + std::to_string(found->second.pid) + " could not be ended.");
  }
  state->running.erase(found);
  return save_state(layout_, *state);
}

Expected<Cluster::Report> Cluster::status() {
  auto state = existing();
  if (!state) {
    return std::unexpected(state.error());
  }
  Report report{std::move(*state), {}};
  const auto add = [&report](const std::string& name) -> ProcessReport& {
    const auto found = report.state.running.find(name);
    const bool known = found != report.state.running.end();
    report.processes.push_back({.name = name,
                                .pid = known ? found->second.pid : 0,
                                .running = known && is_running(found->second),
                                .detail = {}});
    return report.processes.back();
  };
  for (const std::string& server : report.state.servers) {
    add(server);
  }
  for (unsigned k = 1; k <= report.state.nodes; ++k) {
    const NodeLayout node = layout_.node(k);
    ProcessReport& process = add(node.name);
    if (process.running) {
      const Readiness readiness = look(node, report.state.nodes);
      process.detail = readiness.ready ? "ready" : readiness.why;
    }
  }
  return report;
}

bool Cluster::Report::healthy() const {
  return std::ranges::all_of(processes, [](const ProcessReport& process) {
    return process.running && (process.detail.empty() || process.detail == "ready");
  });
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
