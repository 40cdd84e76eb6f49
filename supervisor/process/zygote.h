#pragma once
// The supervisor's side of the zygote: starts `cosigner-worker --zygote`, sends it fork orders with
// the child's end of a socket pair, and learns the pids. The forked processes become this process's
// own children (it is a subreaper, the zygote forks twice), so they outlive a zygote that dies or
// is renewed.

#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ipc/frame.h"
#include "ipc/unique_fd.h"
#include "ipc/zygote_messages.h"
#include "supervisor/process/child.h"

namespace cosigner::supervisor {

class Zygote {
 public:
  struct Handlers {
    /// Warm and taking orders.
    std::function<void()> on_ready;
    /// Exactly one for each order: the pid of a live or dead, not yet reaped child of this process;
    /// or pid 0 and why. When the zygote dies, its unanswered orders fail here before on_exit.
    std::function<void(std::uint64_t order, pid_t pid, const std::string& error)> on_forked;
    /// In the place of on_forked: the order never reached the zygote, so no process came of it.
    std::function<void(std::uint64_t order, const std::string& error)> on_unsent;
    /// The zygote has been reaped. May destroy the Zygote.
    std::function<void(ExitStatus)> on_exit;
    /// Pids of all children the caller watches: whatever else is a child when the zygote dies with
    /// unanswered orders is killed and reaped, so that no worker lives that nobody knows of.
    std::function<std::vector<pid_t>()> known_children;
  };

  /// Makes this process a subreaper and starts the program. Errors: internal, with the path and the
  /// reason.
  /// `kept`: a file that it and its forks keep open until they end; -1: none.
  [[nodiscard]] static Expected<std::unique_ptr<Zygote>> launch(uv_loop_t* loop,
                                                                const std::string& program,
                                                                Handlers handlers, int kept = -1);

  /// What a child gets: its end of the socket, and the writing end of its crash pipe.
  struct Ends {
    ipc::UniqueFd socket;
    ipc::UniqueFd crash_pipe;
  };
  /// Queues an order; `ends` are closed here once sent. The result comes by on_forked, or by
  /// on_unsent, perhaps from within this call.
  void fork(const ipc::ForkOrder& order, Ends ends);
  /// Closes the socket: the zygote ends by itself (its forks live on). on_exit follows.
  void retire();
  [[nodiscard]] pid_t pid() const { return child_->pid(); }
  void kill(int signal) const { child_->kill(signal); }
  /// Orders without a result yet.
  [[nodiscard]] std::size_t outstanding() const { return outstanding_.size(); }
  /// The lowest of them; requires one.
  [[nodiscard]] std::uint64_t oldest() const { return *outstanding_.begin(); }

 private:
  explicit Zygote(Handlers handlers) : handlers_(std::move(handlers)) {}
  void on_socket(int events);
  void receive();
  void flush();
  void exited(ExitStatus status);
  void finish_order(std::uint64_t order, pid_t pid, const std::string& error);
  void give_up_order(std::uint64_t order, const std::string& error);

  Handlers handlers_;
  ipc::UniqueFd socket_;
  std::unique_ptr<FdWatch> watch_;
  std::unique_ptr<ChildProcess> child_;
  struct Queued {
    std::uint64_t order = 0;
    ipc::FrameBytes frame;
    Ends ends;
  };
  std::deque<Queued> queue_;             ///< not taken by the socket yet
  std::set<std::uint64_t> outstanding_;  ///< orders without a result
};

}  // namespace cosigner::supervisor
