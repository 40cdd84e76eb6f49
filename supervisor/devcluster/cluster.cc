#include "supervisor/devcluster/cluster.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "supervisor/ctl/control_client.h"
#include "supervisor/ctl/json.h"

namespace cosigner::devcluster {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// A node drains its workers for up to 10 s.
constexpr std::chrono::seconds kGrace{15};

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

Expected<void> check_number(const State& state, unsigned node) {
  if (node < 1 || node > state.nodes) {
    return fail(ErrorCode::kBadRequest,
                "this cluster has nodes 1 to " + std::to_string(state.nodes) + ".");
  }
  return {};
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
  if (auto named = node ? check_number(*state, *node) : Expected<void>(); !named) {
    return named;
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
  if (auto named = check_number(*state, node); !named) {
    return named;
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

}  // namespace cosigner::devcluster
