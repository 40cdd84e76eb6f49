#include "supervisor/metrics/node_metrics.h"

#include <algorithm>
#include <array>

namespace cosigner::supervisor {
namespace {

using std::string_view;

/// What a request may ask for; "unknown" is one that could not be read.
constexpr std::array<string_view, 6> kOperations = {"keygen",  "sign",    "presign",
                                                    "refresh", "reshare", "unknown"};
constexpr std::array<string_view, 3> kSchemes = {"ed25519", "ecdsa-secp256k1", "bip340-secp256k1"};
constexpr std::array<string_view, 4> kRoles = {"supervisor", "zygote", "gateway", "workers"};
constexpr std::array<string_view, 4> kStoreOperations = {"pending", "activate", "result", "lookup"};
constexpr string_view kOk = "ok";

template <std::size_t N>
bool in(const std::array<string_view, N>& all, string_view name) {
  return std::ranges::find(all, name) != all.end();
}

std::vector<string_view> error_names() {
  std::vector<string_view> out;
  for (auto code = std::uint8_t{0}; code <= static_cast<std::uint8_t>(ErrorCode::kInternal);
       ++code) {
    out.push_back(error_name(static_cast<ErrorCode>(code)));
  }
  return out;
}

bool is_outcome(string_view name) {
  static const std::vector<string_view> kErrors = error_names();
  return name == kOk || std::ranges::find(kErrors, name) != kErrors.end();
}

string_view operation_label(string_view operation) {
  return operation.empty() ? string_view("unknown") : operation;
}

bool possible(std::uint64_t count) {
  return count <= ipc::kMaxCounted;
}
template <class Events>
bool all_possible(const Events& events) {
  return std::ranges::all_of(ipc::counters_of(events),
                             [](const std::uint64_t* count) { return possible(*count); });
}

template <class Events>
void declare_events(MetricFamily& family) {
  for (const string_view event : ipc::kCounterNames<Events>) {
    family.declare({event});
  }
}
template <class Events>
void add_events(MetricFamily& family, const Events& events) {
  const auto counts = ipc::counters_of(events);
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (*counts[i] > 0) {
      family.add({ipc::kCounterNames<Events>[i]}, *counts[i]);
    }
  }
}

}  // namespace

NodeMetrics::NodeMetrics(const Identity& identity)
    : build_info_(registry_.gauge("cosigner_build_info", "which program runs, and as whom",
                                  {"version", "cluster", "node"})),
      ready_(registry_.gauge("cosigner_ready",
                             "store open, gateway subscribed, control socket listening")),
      uptime_(registry_.gauge("cosigner_uptime_seconds", "since the supervisor started")),
      workers_(
          registry_.gauge("cosigner_workers", "users by the state of their worker", {"state"})),
      workers_limit_(registry_.gauge("cosigner_workers_limit", "workers.max_workers")),
      spawns_(registry_.counter("cosigner_worker_spawns_total", "workers forked")),
      spawn_seconds_(
          registry_.histogram("cosigner_worker_spawn_seconds", "order to fork until ready")),
      deaths_(registry_.counter("cosigner_worker_deaths_total", "ends that were not asked for",
                                {"cause"})),
      evictions_(
          registry_.counter("cosigner_evictions_total", "idle workers asked to go", {"outcome"})),
      quarantines_(registry_.counter("cosigner_quarantines_total", "users put in quarantine")),
      gateway_restarts_(
          registry_.counter("cosigner_gateway_restarts_total", "gateways that ended unasked")),
      zygote_restarts_(registry_.counter("cosigner_zygote_restarts_total",
                                         "zygotes that died, and routine renewals", {"cause"})),
      broker_connected_(registry_.gauge("cosigner_broker_connected",
                                        "the gateway's connection to this host's broker")),
      broker_reconnects_(registry_.counter("cosigner_broker_reconnects_total", "of the gateway")),
      peer_present_(registry_.gauge("cosigner_peer_present", "this node hears that node's gateway",
                                    {"node"})),
      requests_(registry_.counter("cosigner_requests_total", "requests answered by this node",
                                  {"operation", "outcome"})),
      refused_(registry_.counter("cosigner_requests_refused_total",
                                 "refused by the gateway before any worker saw them", {"error"})),
      dropped_(registry_.counter("cosigner_requests_dropped_total",
                                 "dropped by the gateway without an answer", {"cause"})),
      overloaded_(registry_.counter("cosigner_overloaded_total",
                                    "requests answered with overloaded by the supervisor",
                                    {"limit"})),
      ticks_dropped_(registry_.counter("cosigner_ticks_dropped_total",
                                       "ticks not sent to a worker whose socket was not empty")),
      mailbox_entries_(
          registry_.gauge("cosigner_mailbox_entries", "unanswered requests of all users")),
      mailbox_bytes_(registry_.gauge("cosigner_mailbox_bytes", "their size")),
      mailbox_limit_(
          registry_.gauge("cosigner_mailbox_limit_bytes", "workers.total_mailbox_bytes")),
      queue_wait_(
          registry_.histogram("cosigner_queue_wait_seconds",
                              "arrival at the supervisor until a worker has it, spawns included")),
      session_duration_(registry_.histogram("cosigner_session_duration_seconds",
                                            "from the worker's taking it to its answer",
                                            {"scheme", "operation", "outcome"})),
      attempts_(
          registry_.counter("cosigner_session_attempts_total", "attempts begun", {"operation"})),
      failovers_(registry_.counter("cosigner_session_failovers_total", "attempts after the first",
                                   {"operation"})),
      retried_(registry_.counter("cosigner_deliveries_retried_total",
                                 "retransmissions between workers")),
      misbehaviour_(registry_.counter("cosigner_peer_misbehaviour_total",
                                      "checks that a peer's message failed", {"node"})),
      unattributable_(registry_.counter("cosigner_unattributable_failures_total",
                                        "failed checks of which nobody can be named as the cause")),
      session_events_(registry_.counter("cosigner_session_events_total",
                                        "what the workers' session engines counted", {"event"})),
      gateway_events_(registry_.counter("cosigner_gateway_events_total",
                                        "what the gateway dropped besides requests, and could not "
                                        "publish",
                                        {"event"})),
      bans_(registry_.gauge("cosigner_bans", "pairs banned until their OT state is renewed")),
      presignatures_(
          registry_.gauge("cosigner_presignatures", "presignatures in stock", {"scheme"})),
      store_latency_(registry_.histogram("cosigner_store_latency_seconds",
                                         "order until durable (or found)", {"operation"})),
      store_errors_(registry_.counter("cosigner_store_errors_total", "failed store operations")),
      store_bytes_(
          registry_.gauge("cosigner_store_bytes", "size of the database file and its log")),
      control_refused_(registry_.counter("cosigner_control_refused_total",
                                         "calls on the control socket without the right to make "
                                         "them")),
      memory_(
          registry_.gauge("cosigner_process_resident_memory_bytes", "private memory", {"role"})),
      open_fds_(registry_.gauge("cosigner_open_fds", "of the supervisor")),
      max_fds_(registry_.gauge("cosigner_max_fds", "its limit")) {
  build_info_.set({identity.version, identity.cluster, identity.node}, 1);
  for (const string_view cause :
       {"signal", "exit", "unresponsive", "start_timeout", "out_of_memory", "killed"}) {
    deaths_.declare({cause});
  }
  for (const string_view outcome : {"agreed", "refused"}) {
    evictions_.declare({outcome});
  }
  for (const string_view cause : {"death", "renewal"}) {
    zygote_restarts_.declare({cause});
  }
  for (const string_view operation : kOperations) {
    requests_.declare({operation, kOk});
    for (const string_view error : error_names()) {
      requests_.declare({operation, error});
    }
    attempts_.declare({operation});
    failovers_.declare({operation});
    for (const string_view scheme : kSchemes) {
      for (const string_view outcome : {"ok", "failed"}) {
        session_duration_.declare({scheme, operation, outcome});
      }
    }
  }
  for (const string_view error : error_names()) {
    refused_.declare({error});
  }
  for (const string_view cause : {"refusal_rate", "repeat", "stranger"}) {
    dropped_.declare({cause});
  }
  for (const string_view operation : kStoreOperations) {
    store_latency_.declare({operation});
  }
  for (const string_view scheme : kSchemes) {
    presignatures_.declare({scheme});
  }
  for (const string_view role : kRoles) {
    memory_.declare({role});
  }
  declare_events<ipc::SessionEvents>(session_events_);
  declare_events<ipc::GatewayEvents>(gateway_events_);
  set_peers(identity.peers);
}

void NodeMetrics::set_peers(const std::vector<std::string>& peers) {
  peers_ = peers;
  for (const std::string& node : peers_) {
    misbehaviour_.declare({node});
  }
}

void NodeMetrics::answered(string_view operation, string_view outcome) {
  const string_view label = operation_label(operation);
  requests_.add({in(kOperations, label) ? label : string_view("unknown"), outcome});
}

void NodeMetrics::stored(StoreOperation operation, std::uint64_t microseconds) {
  store_latency_.observe({kStoreOperations[static_cast<std::size_t>(operation)]}, microseconds);
}

bool NodeMetrics::absorb(const ipc::WorkerMetrics& worker) {
  const auto good_request = [](const ipc::RequestTally& tally) {
    return in(kOperations, operation_label(tally.operation)) &&
           (tally.scheme.empty() || in(kSchemes, tally.scheme)) && is_outcome(tally.outcome) &&
           tally.buckets.size() == ipc::kDurationBuckets &&
           std::ranges::all_of(tally.buckets, possible);
  };
  const auto good_attempt = [](const ipc::AttemptTally& tally) {
    return in(kOperations, operation_label(tally.operation)) && possible(tally.attempts) &&
           possible(tally.failovers);
  };
  const auto good_peer = [this](const ipc::PeerTally& tally) {
    return std::ranges::find(peers_, tally.node) != peers_.end() && possible(tally.misbehaviours);
  };
  if (!std::ranges::all_of(worker.requests, good_request) ||
      !std::ranges::all_of(worker.attempts, good_attempt) ||
      !std::ranges::all_of(worker.peers, good_peer) || !all_possible(worker.events)) {
    return false;
  }
  for (const ipc::RequestTally& tally : worker.requests) {
    const string_view operation = operation_label(tally.operation);
    std::uint64_t count = 0;
    for (const std::uint64_t bucket : tally.buckets) {
      count += bucket;
    }
    requests_.add({operation, tally.outcome}, count);
    if (!tally.scheme.empty()) {
      session_duration_.merge({tally.scheme, operation, tally.outcome == kOk ? kOk : "failed"},
                              tally.buckets, tally.total_us);
    }
  }
  for (const ipc::AttemptTally& tally : worker.attempts) {
    attempts_.add({operation_label(tally.operation)}, tally.attempts);
    failovers_.add({operation_label(tally.operation)}, tally.failovers);
  }
  for (const ipc::PeerTally& tally : worker.peers) {
    misbehaviour_.add({tally.node}, tally.misbehaviours);
  }
  retried_.add({}, worker.events.retransmissions);
  unattributable_.add({}, worker.events.unattributable);
  add_events(session_events_, worker.events);
  return true;
}

bool NodeMetrics::absorb(const ipc::GatewayMetrics& gateway) {
  if (!std::ranges::all_of(gateway.refused,
                           [](const ipc::RefusalTally& tally) {
                             return tally.error != kOk && is_outcome(tally.error) &&
                                    possible(tally.count);
                           }) ||
      !possible(gateway.dropped_refusals) || !possible(gateway.dropped_repeats) ||
      !possible(gateway.dropped_strangers) || !all_possible(gateway.events)) {
    return false;
  }
  for (const ipc::RefusalTally& tally : gateway.refused) {
    refused_.add({tally.error}, tally.count);
  }
  dropped_.add({"refusal_rate"}, gateway.dropped_refusals);
  dropped_.add({"repeat"}, gateway.dropped_repeats);
  dropped_.add({"stranger"}, gateway.dropped_strangers);
  add_events(gateway_events_, gateway.events);
  return true;
}

std::string NodeMetrics::text(const Sample& sample) {
  ready_.set({}, sample.ready ? 1 : 0);
  uptime_.set({}, sample.uptime_s);
  const auto number = [](auto value) { return static_cast<double>(value); };
  for (std::size_t i = 0; i < sample.users_in_state.size(); ++i) {
    // A user without a process is not in any state that somebody watches.
    if (const auto state = static_cast<UserState>(i); state != UserState::kAbsent) {
      workers_.set({user_state_name(state)}, number(sample.users_in_state[i]));
    }
  }
  workers_limit_.set({}, number(sample.workers_limit));
  spawns_.set({}, number(sample.registry.spawns));
  for (std::size_t i = 0; i < kDeathCauses; ++i) {
    deaths_.set({death_cause_name(static_cast<DeathCause>(i))},
                number(sample.registry.deaths_by_cause[i]));
  }
  evictions_.set({"agreed"}, number(sample.registry.evictions));
  evictions_.set({"refused"}, number(sample.registry.evictions_declined));
  quarantines_.set({}, number(sample.registry.quarantines));
  gateway_restarts_.set({}, number(sample.gateway_restarts));
  zygote_restarts_.set({"death"}, number(sample.zygote_deaths));
  zygote_restarts_.set({"renewal"}, number(sample.zygote_renewals));
  broker_connected_.set({}, sample.broker_connected ? 1 : 0);
  broker_reconnects_.set({}, number(sample.broker_reconnects));
  peer_present_.clear();
  for (const std::string& node : peers_) {
    peer_present_.set({node}, sample.present.contains(node) ? 1 : 0);
  }
  for (std::size_t i = 0; i < kLimits; ++i) {
    overloaded_.set({limit_name(static_cast<Limit>(i))},
                    number(sample.registry.overloaded_by_limit[i]));
  }
  ticks_dropped_.set({}, number(sample.ticks_dropped));
  mailbox_entries_.set({}, number(sample.mailbox_entries));
  mailbox_bytes_.set({}, number(sample.mailbox_bytes));
  mailbox_limit_.set({}, number(sample.mailbox_limit_bytes));
  bans_.set({}, number(sample.bans));
  for (const string_view scheme : kSchemes) {
    const auto found = sample.presignatures.find(std::string(scheme));
    presignatures_.set({scheme}, found == sample.presignatures.end() ? 0 : number(found->second));
  }
  store_errors_.set({}, number(sample.store_errors));
  store_bytes_.set({}, number(sample.store_bytes));
  for (const string_view role : kRoles) {
    const auto found = sample.memory_bytes.find(std::string(role));
    memory_.set({role}, found == sample.memory_bytes.end() ? 0 : number(found->second));
  }
  open_fds_.set({}, number(sample.open_fds));
  max_fds_.set({}, number(sample.max_fds));
  return registry_.text();
}

}  // namespace cosigner::supervisor
