#pragma once
// One node: the supervisor's parts put together on one loop, from start to stop.

#include <memory>
#include <string>

#include "supervisor/config/config_diff.h"
#include "supervisor/control/control_server.h"
#include "supervisor/service/events.h"
#include "supervisor/service/exporter_link.h"
#include "supervisor/service/gateway_link.h"
#include "supervisor/service/memory_guard.h"
#include "supervisor/service/scrape.h"
#include "supervisor/service/self_check.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {

class Commands;

class Node {
 public:
  /// Takes the state directory, opens keys and store, starts the zygote, listens on the control
  /// socket; the gateway follows as the loop runs. Errors: what cannot be opened, with a remedy.
  /// `control_socket`: one that listens already (activation.h), or nothing.
  [[nodiscard]] static Expected<std::unique_ptr<Node>> open(
      uv_loop_t* loop, Config config, std::optional<ipc::UniqueFd> control_socket = std::nullopt);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  /// Drains workers in parallel under one deadline, kills those left, answers the control calls
  /// that are under way, says goodbye to the peers, then `on_stopped`. Whatever hangs, it comes
  /// within kFarewellMs of the deadline.
  void stop(std::function<void()> on_stopped);
  /// stop() has been called; now without waiting for the workers.
  void hurry();
  [[nodiscard]] bool stopping() const { return stopping_; }

  /// Reads the configuration again and applies what can change while the node runs; no session is
  /// dropped. Errors: what is wrong with the files; nothing has changed then.
  [[nodiscard]] std::expected<ConfigDifference, std::vector<ConfigProblem>> reload();
  /// The same for who gets no answer: a refusal is an event then, and in the log as ever.
  void reload_on_signal();

  // What the control commands look at.
  [[nodiscard]] const Config& config() const { return config_; }
  [[nodiscard]] uv_loop_t* loop() const { return loop_; }
  [[nodiscard]] WorkerPool& pool() { return *pool_; }
  [[nodiscard]] GatewayLink& gateway() { return *gateway_; }
  [[nodiscard]] ProcessTree& tree() { return *tree_; }
  [[nodiscard]] StoreThread& store() { return *store_; }
  [[nodiscard]] Events& events() { return events_; }
  [[nodiscard]] NodeMetrics& metrics() { return *metrics_; }
  [[nodiscard]] Scrape& scrape() { return *scrape_; }
  [[nodiscard]] SelfCheck& self_check() { return self_check_; }
  [[nodiscard]] const ExporterLink& exporter() const { return *exporter_; }
  [[nodiscard]] std::int64_t started_at_ms() const { return started_at_ms_; }
  /// Store open, gateway subscribed, control socket listening, zygote warm.
  [[nodiscard]] bool ready() const;
  /// One sentence for each thing that is not as it should be.
  [[nodiscard]] std::vector<std::string> degraded() const;

 private:
  Node(uv_loop_t* loop, Config config, ipc::UniqueFd lock, Issuer issuer);
  Expected<void> start(ipc::UniqueFd children, std::optional<ipc::UniqueFd> control_socket);
  std::expected<ConfigDifference, std::vector<ConfigProblem>> read_config_again();
  void apply_config();
  void start_tick_timer();
  void alive();
  void changed();
  /// "not ready; …": what degraded() says, in one line.
  [[nodiscard]] std::string not_ready() const;
  void on_presence(const std::string& node, bool present);
  void purge();
  void guard_memory();
  /// Where the host allows it; rlimits stand either way.
  void use_cgroups();
  void stop_gateway();
  void end_calls(std::function<void()> on_closed);
  void stop_deadline();
  void stopped();

  uv_loop_t* loop_;
  Config config_;
  ipc::UniqueFd lock_;
  Issuer issuer_;
  SystemRandom random_;
  Events events_;
  std::int64_t started_at_ms_;
  std::unique_ptr<NodeMetrics> metrics_;
  std::unique_ptr<StoreThread> store_;
  std::unique_ptr<ProcessTree> tree_;
  std::unique_ptr<GatewayLink> gateway_;
  std::unique_ptr<WorkerPool> pool_;
  std::unique_ptr<MemoryGuard> memory_guard_;
  std::unique_ptr<Scrape> scrape_;
  SelfCheck self_check_{*this};
  std::unique_ptr<ExporterLink> exporter_;
  std::unique_ptr<Commands> commands_;
  std::unique_ptr<ControlServer> control_;
  LoopTimer tick_timer_;
  LoopTimer purge_timer_;
  LoopTimer watchdog_timer_;
  LoopTimer stop_timer_;      ///< the workers' deadline while stopping
  LoopTimer farewell_timer_;  ///< then everything's
  bool announced_ = false;
  std::string status_;
  std::string_view state_ = "starting";  ///< as the last "node" event said it
  std::string shown_status_;             ///< by systemd
  bool stopping_ = false;
  bool gateway_stopping_ = false;
  bool overdue_ = false;  ///< the workers' deadline passed before they had ended
  bool hurried_ = false;
  std::function<void()> on_stopped_;
};

}  // namespace cosigner::supervisor
