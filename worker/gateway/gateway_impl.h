#pragma once
// The inside of run_gateway(): one object between two sockets. What it decides is in pure classes
// (RequestGate, PresenceTable, Discovery); here is who waits for what.

#include <uv.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/child_messages.h"
#include "ipc/gateway_messages.h"
#include "ipc/metrics_messages.h"
#include "ipc/uv_stream.h"
#include "worker/gateway/discovery.h"
#include "worker/gateway/presence.h"
#include "worker/gateway/request_gate.h"
#include "worker/nats/broker_connection.h"
#include "worker/process.h"

namespace cosigner::worker {

class Gateway {
 public:
  Gateway(uv_loop_t* loop, std::uint64_t generation) : loop_(loop), generation_(generation) {}

  bool open(int socket_fd);
  void finish();

 private:
  /// Answers to service discovery, a second: anybody on the broker may ask.
  static constexpr double kDiscoveriesPerSecond = 50;

  // gateway.cc: what the supervisor says, and what goes out with time
  void on_frame(const ipc::Frame& frame);
  void start(ipc::GatewayStart start);
  void reconfigure(ipc::Reconfigured change);
  [[nodiscard]] std::vector<std::string> other_nodes() const;
  void start_timer();
  void answer(const ipc::GatewayAnswer& answer);
  void publish_request(const ipc::PublishRequest& request);
  void drain();
  void leave_when_answered();

  void on_timer();
  void send_beacon(bool bye);
  void send_metrics();
  void report(const std::vector<PresenceChange>& changes);
  void log(ipc::LogLevel level, std::string message);
  [[nodiscard]] std::int64_t now_ms() const { return static_cast<std::int64_t>(uv_now(loop_)); }
  [[nodiscard]] static std::uint64_t wall_ms();

  // gateway_broker.cc: what the broker brings
  void on_message(const BrokerMessage& message);
  void on_state(const BrokerStateChange& change);
  void on_request(std::string_view woken_by, const BrokerMessage& message);
  void on_inbox(std::string_view token, const BrokerMessage& message);
  void on_beacon(std::string_view node, const BrokerMessage& message);
  void on_discovery(const BrokerMessage& message);
  void publish_refusal(const std::string& inbox, const RequestAnswer& answer);
  /// The subject's tail behind `prefix_ + middle`, if it begins so.
  [[nodiscard]] std::optional<std::string_view> tail(std::string_view subject,
                                                     std::string_view middle) const;

  uv_loop_t* loop_;
  std::uint64_t generation_;
  SystemRandom random_;
  Ed25519SecretKey signing_key_ = ed25519_generate(random_);
  Ed25519SecretKey broker_key_ = ed25519_generate(random_);
  std::unique_ptr<ipc::FrameChannel> supervisor_;
  uv_timer_t timer_{};

  ipc::GatewayStart start_;
  std::string prefix_;  ///< "cosigner.<cluster>."
  std::string inbox_;   ///< "_INBOX.<node>.<generation>."
  std::uint64_t certificate_ends_ = 0;
  bool renewal_asked_ = false;
  std::unique_ptr<RequestGate> gate_;
  std::unique_ptr<PresenceTable> presence_;
  std::unique_ptr<BrokerConnection> broker_;
  std::optional<ThreadCounter> threads_;  ///< from the start to the first subscription
  bool ready_sent_ = false;
  bool draining_ = false;
  bool drained_ = false;  ///< nothing comes from the broker any more

  std::uint64_t next_request_ = 1;
  struct Pending {
    std::string inbox;  ///< the client's
    std::uint64_t since_ns = 0;
  };
  std::map<std::uint64_t, Pending> pending_;  ///< by our request number
  std::unique_ptr<Discovery> discovery_;
  TokenBucket discoveries_{kDiscoveriesPerSecond};
  std::set<std::uint64_t> publishes_;  ///< control-socket requests that still want answers
  std::uint64_t beacons_ = 0;
  ipc::GatewayEvents events_;  ///< since the start
  ipc::GatewayEvents told_events_;
};

}  // namespace cosigner::worker
