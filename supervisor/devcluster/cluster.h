#pragma once
// A whole cluster on this machine, for evaluation and tests: made, started, ended. Each function is
// one command; what it tells the user goes to `say`.

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "ipc/unique_fd.h"
#include "supervisor/devcluster/node_files.h"
#include "supervisor/devcluster/state.h"

namespace cosigner::devcluster {

inline constexpr unsigned kMaxNodes = 32;

struct UpOptions {
  unsigned nodes = 3;
  unsigned threshold = 2;
  Topology topology = Topology::kSingle;
  Overrides overrides;
};

struct ProcessReport {
  std::string name;
  int pid = 0;
  bool running = false;
  std::string detail;  ///< nodes: "ready", or why not
};

class Cluster {
 public:
  struct Environment {
    std::filesystem::path programs;  ///< folder of cosignerd and cosigner-worker
    std::chrono::seconds ready_timeout{60};
    std::function<void(const std::string&)> say;
    const std::atomic<bool>& interrupted;
  };

  /// `directory` becomes absolute. Takes the directory's lock if it exists.
  Cluster(const std::filesystem::path& directory, Environment environment);

  /// Makes everything and starts it; returns when every node is ready and sees all the others. On
  /// failure whatever was started is ended, the logs stay.
  [[nodiscard]] Expected<void> up(const UpOptions& options);
  /// Ends exactly the processes that were started here. Nothing to end is success.
  [[nodiscard]] Expected<void> down();
  /// Starts what does not run (one node, or with nothing given everything) and waits until it is
  /// ready.
  [[nodiscard]] Expected<void> start(std::optional<unsigned> node);
  /// Ends one node (SIGTERM, then SIGKILL).
  [[nodiscard]] Expected<void> stop(unsigned node);

  struct Report {
    State state;
    std::vector<ProcessReport> processes;
    [[nodiscard]] bool healthy() const;
  };
  [[nodiscard]] Expected<Report> status();

  [[nodiscard]] const Layout& layout() const { return layout_; }

 private:
  Expected<void> lock();
  Expected<State> existing();
  Expected<void> prepare_directory();
  Expected<void> build(const UpOptions& options, State& state);
  Expected<void> start_server(State& state, const std::string& name,
                              const std::function<Expected<std::string>()>& make_configuration);
  Expected<void> start_node(State& state, unsigned number);
  Expected<void> wait_ready(const State& state, const std::vector<unsigned>& numbers);
  Expected<void> end_everything(State& state);
  Expected<void> write_env(const State& state);

  Layout layout_;
  Environment environment_;
  ipc::UniqueFd lock_;
};

}  // namespace cosigner::devcluster
