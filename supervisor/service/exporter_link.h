#pragma once
// The process that serves metrics over HTTP (supervisor/exporter), where metrics.listen asks for
// one. The supervisor opens the listening socket and keeps it, so that a port in use shows at the
// start and a restart of the process loses no connection; the process itself can open nothing. A
// restart budget of its own; nothing else depends on it.

#include <functional>
#include <memory>
#include <string>

#include "ipc/metrics_messages.h"
#include "ipc/uv_stream.h"
#include "supervisor/process/child.h"
#include "supervisor/registry/budget.h"
#include "supervisor/service/process_tree.h"

namespace cosigner::supervisor {

class ExporterLink {
 public:
  struct Outlets {
    /// Readiness, now: empty, or why not.
    std::function<std::string()> not_ready;
    /// The metrics as text, later.
    std::function<void(std::function<void(const std::string& text)>)> text;
  };

  ExporterLink(uv_loop_t* loop, ProcessTree& tree, Random& random, Outlets outlets);
  ~ExporterLink();

  /// `program`: cosigner-exporter. Errors: the address cannot be listened on. A program that cannot
  /// be started is tried again.
  [[nodiscard]] Expected<void> start(const std::string& listen, std::string program);
  void stop();

  /// Whether there is to be one.
  [[nodiscard]] bool wanted() const { return static_cast<bool>(listener_); }
  [[nodiscard]] const char* state() const {
    return !wanted() ? "off" : process_ ? "ready" : "backoff";
  }
  [[nodiscard]] pid_t pid() const { return process_ ? process_->pid() : 0; }
  [[nodiscard]] std::uint64_t restarts() const { return restarts_; }

 private:
  void launch();
  void on_frame(const ipc::Frame& frame);
  void died(const std::string& why);

  uv_loop_t* loop_;
  ProcessTree& tree_;
  Random& random_;
  Outlets outlets_;
  ipc::UniqueFd listener_;
  std::string program_;
  std::unique_ptr<ipc::FrameChannel> channel_;
  std::unique_ptr<ipc::FrameChannel> dead_channel_;  ///< freed at the next start
  std::unique_ptr<ChildProcess> process_;
  std::uint64_t run_ =
      0;  ///< answers that come after the end of the process that asked are dropped
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  RestartBudget budget_;
  std::uint64_t restarts_ = 0;
  LoopTimer restart_timer_;
};

}  // namespace cosigner::supervisor
