#pragma once
// The node's one gateway: its process, its socket, its own restart budget. While it is away the
// node is degraded: requests in flight lose their way back (clients ask the other nodes), the
// control socket's submits fail typed, workers live on.

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "ipc/child_messages.h"
#include "ipc/gateway_messages.h"
#include "ipc/uv_stream.h"
#include "supervisor/metrics/node_metrics.h"
#include "supervisor/process/crash_pipe.h"
#include "supervisor/registry/types.h"
#include "supervisor/service/issuer.h"
#include "supervisor/service/per_second.h"
#include "supervisor/service/process_tree.h"
#include "supervisor/service/settled_states.h"

namespace cosigner::supervisor {

class GatewayLink {
 public:
  struct Outlets {
    /// A request that passed the gateway's checks; names are checked here.
    std::function<void(const std::string& user, RequestInfo info, ByteVector envelope)> request;
    std::function<void(const std::string& node, bool present)> presence;
    std::function<std::optional<std::uint64_t>()> take_generation;
    std::function<void()> on_change;
    std::function<void()> on_gone;  ///< while stopping
  };
  /// One submit of the control socket.
  struct Publish {
    std::function<void(ByteVector envelope)> on_answer;
    std::function<void(const Error& error)> on_failed;  ///< the end of it
  };
  static constexpr std::size_t kMaxPublishes = 16384;

  GatewayLink(uv_loop_t* loop, const Config& config, const Issuer& issuer, ProcessTree& tree,
              NodeMetrics& metrics, Random& random, Outlets outlets);
  ~GatewayLink();

  void start();
  /// Says goodbye to the peers; on_gone follows, by SIGKILL after `deadline_ms`.
  void stop(std::int64_t deadline_ms);

  /// The configuration was read again.
  void reconfigure(const ipc::Reconfigured& change);

  /// Dropped if the request came by another generation of the gateway.
  void answer(const RequestInfo& info, ByteVector envelope);
  void wake(const ipc::PublishWake& wake);
  /// Publishes a client's envelope; answers come until cancel(). Errors: overloaded (no gateway
  /// now, or too many).
  [[nodiscard]] Expected<std::uint64_t> publish(ByteVector envelope, Publish publish);
  void cancel(std::uint64_t publish);

  [[nodiscard]] bool ready() const { return ready_; }
  /// Every peer's gateway has been heard, or the time for its first beacon has passed: from now on
  /// "absent" is true. Before, a request here would be refused for want of a quorum.
  [[nodiscard]] bool knows_peers() const;
  [[nodiscard]] const char* state() const;
  [[nodiscard]] pid_t pid() const { return process_ ? process_->pid() : 0; }
  [[nodiscard]] std::uint64_t restarts() const { return restarts_; }
  [[nodiscard]] bool broker_connected() const { return broker_connected_; }
  /// Connections lost and found again, by one gateway or the next.
  [[nodiscard]] std::uint64_t broker_reconnects() const { return broker_reconnects_; }
  [[nodiscard]] const std::string& broker_detail() const { return broker_detail_; }
  [[nodiscard]] const std::set<std::string>& present() const { return present_; }
  [[nodiscard]] std::uint64_t answers_lost() const { return answers_lost_; }

 private:
  // gateway_link.cc: its life, and what goes out
  void try_start();
  void forked(std::uint64_t generation, pid_t pid, const std::string& error);
  void on_socket_end(std::string_view why);
  void exited(ExitStatus status);
  void died(const std::string& why);
  void kill(std::string_view why);
  template <class Message>
  bool send(const Message& message);
  /// Whether it went out; a gateway that does not read is ended.
  bool sent(ipc::SendStatus status, ipc::MessageType type);

  // gateway_frames.cc: what it says
  void on_frame(const ipc::Frame& frame);
  template <class Message, class Handle>
  void with(const ipc::Frame& frame, Handle handle);
  void on_hello(const ipc::GatewayHello& hello);
  void on_ready();
  void set_broker_connected(bool connected);
  void on_request(ipc::GatewayRequest request);
  void on_presence(const ipc::PeerPresence& presence);
  void on_broker_state(ipc::BrokerState state);
  void on_log(const ipc::Log& line);
  /// Tells of what has changed in the gateway's view, as often as it may.
  void settle();
  void on_renew();

  uv_loop_t* loop_;
  const Config& config_;
  const Issuer& issuer_;
  ProcessTree& tree_;
  NodeMetrics& metrics_;
  Random& random_;
  Outlets outlets_;
  std::uint64_t generation_ = 0;
  std::unique_ptr<ipc::FrameChannel> channel_;
  std::unique_ptr<ipc::FrameChannel> dead_channel_;  ///< freed at the next start
  std::unique_ptr<ChildProcess> process_;
  CrashPipe crash_pipe_;
  std::optional<ipc::GatewayHello> hello_;
  bool forking_ = false;
  bool kill_when_forked_ = false;
  bool ready_ = false;
  bool stopping_ = false;
  bool broker_connected_ = false;
  bool broker_was_connected_ = false;
  std::uint64_t broker_reconnects_ = 0;
  std::string broker_detail_;
  std::set<std::string> present_;
  std::set<std::string> heard_;  ///< peers that this gateway has reported
  bool waited_for_peers_ = false;
  // What a captured gateway may cost: see settled_states.h.
  struct BrokerView {
    bool connected = false;
    std::string detail;
    /// A detail is for operators; what changes is whether there is a broker.
    friend bool operator==(const BrokerView& a, const BrokerView& b) {
      return a.connected == b.connected;
    }
  };
  SettledStates<bool> presence_states_;
  SettledStates<BrokerView> broker_states_;
  PerSecond log_lines_;
  PerSecond renewals_;
  std::map<std::uint64_t, Publish> publishes_;
  std::uint64_t next_publish_ = 1;
  RestartBudget budget_;
  std::uint64_t restarts_ = 0;
  std::uint64_t answers_lost_ = 0;
  std::uint64_t silent_looks_ = 0;  ///< since its last frame
  LoopTimer restart_timer_;
  LoopTimer watch_timer_;     ///< start timeout, then heartbeats
  LoopTimer stop_timer_;      ///< it was told to end
  LoopTimer settle_timer_;    ///< a change waits for its time
  LoopTimer presence_timer_;  ///< peers that a new gateway does not hear of are absent
};

template <class Message>
bool GatewayLink::send(const Message& message) {
  return channel_ && sent(channel_->send(message), Message::kType);
}

}  // namespace cosigner::supervisor
