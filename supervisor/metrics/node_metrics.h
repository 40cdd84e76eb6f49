#pragma once
// Every metric of a node. The contract is packaging/monitoring/metrics.md: names, labels and the
// values of closed labels, all exposed from the start; tests/unit/supervisor/metrics_test.cc and
// packaging/monitoring/check compare the two. Pure: what happens comes in through methods, what
// must be looked up when somebody asks comes in a Sample.

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/metrics_messages.h"
#include "supervisor/metrics/metric_registry.h"
#include "supervisor/registry/types.h"

namespace cosigner::supervisor {

enum class StoreOperation : std::uint8_t { kPending, kActivate, kResult, kLookup };

class NodeMetrics {
 public:
  struct Identity {
    std::string version;
    std::string cluster;
    std::string node;
    std::vector<std::string> peers;  ///< without this node
  };
  explicit NodeMetrics(const Identity& identity);
  NodeMetrics(const NodeMetrics&) = delete;
  NodeMetrics& operator=(const NodeMetrics&) = delete;

  // ---- what happens
  /// Answered by this node's supervisor itself; what workers answer comes in their frames.
  void answered(std::string_view operation, std::string_view outcome);
  void waited(std::uint64_t microseconds) { queue_wait_.observe({}, microseconds); }
  void spawned(std::uint64_t microseconds) { spawn_seconds_.observe({}, microseconds); }
  void stored(StoreOperation operation, std::uint64_t microseconds);
  void control_refused() { control_refused_.add({}); }
  /// False, and nothing is counted, if a name or a histogram in it is none, or a count is one that
  /// no process comes to.
  [[nodiscard]] bool absorb(const ipc::WorkerMetrics& worker);
  [[nodiscard]] bool absorb(const ipc::GatewayMetrics& gateway);
  /// The peers changed (reload): counts of those that stay, stay.
  void set_peers(const std::vector<std::string>& peers);

  // ---- what is looked up when somebody asks
  struct Sample {
    bool ready = false;
    double uptime_s = 0;
    std::vector<std::size_t> users_in_state;  ///< by UserState
    std::size_t workers_limit = 0;
    RegistryCounters registry;
    std::size_t mailbox_entries = 0;
    std::size_t mailbox_bytes = 0;
    std::size_t mailbox_limit_bytes = 0;
    std::uint64_t ticks_dropped = 0;
    std::uint64_t gateway_restarts = 0;
    std::uint64_t zygote_deaths = 0;
    std::uint64_t zygote_renewals = 0;
    bool broker_connected = false;
    std::uint64_t broker_reconnects = 0;
    std::set<std::string> present;
    std::uint64_t bans = 0;
    std::map<std::string, std::uint64_t> presignatures;  ///< by scheme
    std::uint64_t store_errors = 0;
    std::uint64_t store_bytes = 0;
    std::map<std::string, std::uint64_t> memory_bytes;  ///< by role
    std::uint64_t open_fds = 0;
    std::uint64_t max_fds = 0;
  };
  [[nodiscard]] std::string text(const Sample& sample);

  [[nodiscard]] const MetricRegistry& registry() const { return registry_; }

 private:
  MetricRegistry registry_;
  std::vector<std::string> peers_;
  // In the order of the contract.
  MetricFamily& build_info_;
  MetricFamily& ready_;
  MetricFamily& uptime_;
  MetricFamily& workers_;
  MetricFamily& workers_limit_;
  MetricFamily& spawns_;
  MetricFamily& spawn_seconds_;
  MetricFamily& deaths_;
  MetricFamily& evictions_;
  MetricFamily& quarantines_;
  MetricFamily& gateway_restarts_;
  MetricFamily& zygote_restarts_;
  MetricFamily& broker_connected_;
  MetricFamily& broker_reconnects_;
  MetricFamily& peer_present_;
  MetricFamily& requests_;
  MetricFamily& refused_;
  MetricFamily& dropped_;
  MetricFamily& overloaded_;
  MetricFamily& ticks_dropped_;
  MetricFamily& mailbox_entries_;
  MetricFamily& mailbox_bytes_;
  MetricFamily& mailbox_limit_;
  MetricFamily& queue_wait_;
  MetricFamily& session_duration_;
  MetricFamily& attempts_;
  MetricFamily& failovers_;
  MetricFamily& retried_;
  MetricFamily& misbehaviour_;
  MetricFamily& unattributable_;
  MetricFamily& session_events_;
  MetricFamily& gateway_events_;
  MetricFamily& bans_;
  MetricFamily& presignatures_;
  MetricFamily& store_latency_;
  MetricFamily& store_errors_;
  MetricFamily& store_bytes_;
  MetricFamily& control_refused_;
  MetricFamily& memory_;
  MetricFamily& open_fds_;
  MetricFamily& max_fds_;
};

}  // namespace cosigner::supervisor
