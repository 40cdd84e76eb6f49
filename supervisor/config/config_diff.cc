#include "supervisor/config/config_diff.h"

#include <algorithm>
#include <array>

namespace cosigner::supervisor {
namespace {

enum class Change : std::uint8_t { kLive, kRestart };

/// One key: how to compare it and how to take it over.
struct Key {
  std::string_view name;
  Change change;
  bool (*same)(const Config&, const Config&);
  void (*take)(Config&, const Config&);
};

template <auto Outer, auto... Inner>
auto& at(auto& object) {
  if constexpr (sizeof...(Inner) == 0) {
    return object.*Outer;
  } else {
    return at<Inner...>(object.*Outer);
  }
}

template <auto... Path>
constexpr Key key(std::string_view name, Change change) {
  return {name, change,
          [](const Config& a, const Config& b) { return at<Path...>(a) == at<Path...>(b); },
          [](Config& to, const Config& from) { at<Path...>(to) = at<Path...>(from); }};
}

template <auto Field>
constexpr Key workers(std::string_view name) {
  return key<&Config::workers, Field>(name, Change::kLive);
}
template <auto Field>
constexpr Key sessions(std::string_view name) {
  return key<&Config::sessions, Field>(name, Change::kLive);
}

using enum Change;
using S = ipc::Settings;
using W = WorkerLimits;

/// In the order of the default file. Names, keys, sockets and processes are the node itself; all
/// else can change under it.
constexpr std::array kKeys{
    key<&Config::cluster>("cluster", kRestart),
    key<&Config::node>("node", kRestart),
    key<&Config::state_directory>("state_directory", kRestart),
    key<&Config::control_socket>("control_socket", kRestart),
    key<&Config::peers_file>("peers_file", kLive),
    key<&Config::initiators_file>("initiators_file", kLive),
    key<&Config::identity_key_file>("identity_key_file", kRestart),
    key<&Config::key_encryption_key_file>("key_encryption_key_file", kRestart),
    key<&Config::worker_program>("worker_program", kRestart),
    key<&Config::default_threshold>("default_threshold", kLive),
    key<&Config::broker, &BrokerConfig::url>("broker.url", kRestart),
    key<&Config::broker, &BrokerConfig::account>("broker.account", kRestart),
    key<&Config::broker, &BrokerConfig::worker_signing_key_file>("broker.worker_signing_key_file",
                                                                 kRestart),
    key<&Config::broker, &BrokerConfig::gateway_signing_key_file>("broker.gateway_signing_key_file",
                                                                  kRestart),
    key<&Config::control, &ControlGroups::view>("control.view_group", kLive),
    key<&Config::control, &ControlGroups::admin>("control.admin_group", kLive),
    workers<&W::max_workers>("workers.max_workers"),
    workers<&W::idle_timeout_s>("workers.idle_timeout_s"),
    workers<&W::mailbox_entries>("workers.mailbox_entries"),
    workers<&W::mailbox_bytes>("workers.mailbox_bytes"),
    workers<&W::total_mailbox_bytes>("workers.total_mailbox_bytes"),
    workers<&W::max_restarts>("workers.max_restarts"),
    workers<&W::restart_window_s>("workers.restart_window_s"),
    workers<&W::quarantine_s>("workers.quarantine_s"),
    workers<&W::backoff_first_ms>("workers.backoff_first_ms"),
    workers<&W::backoff_cap_ms>("workers.backoff_cap_ms"),
    workers<&W::start_timeout_s>("workers.start_timeout_s"),
    workers<&W::unresponsive_s>("workers.unresponsive_s"),
    workers<&W::spawns_per_second>("workers.spawns_per_second"),
    workers<&W::starting_at_once>("workers.starting_at_once"),
    key<&Config::workers, &W::memory_max_bytes>("workers.memory_max_bytes", kRestart),
    workers<&W::memory_floor_bytes>("workers.memory_floor_bytes"),
    workers<&W::memory_pressure_percent>("workers.memory_pressure_percent"),
    workers<&W::tick_s>("workers.tick_s"),
    workers<&W::stop_timeout_s>("workers.stop_timeout_s"),
    sessions<&S::attempt_timer_ms>("sessions.attempt_timer_ms"),
    sessions<&S::keygen_attempt_timer_ms>("sessions.keygen_attempt_timer_ms"),
    sessions<&S::delivery_attempts>("sessions.delivery_attempts"),
    sessions<&S::delivery_first_ms>("sessions.delivery_first_ms"),
    sessions<&S::delivery_cap_ms>("sessions.delivery_cap_ms"),
    sessions<&S::presence_interval_ms>("sessions.presence_interval_ms"),
    sessions<&S::presence_timeout_ms>("sessions.presence_timeout_ms"),
    sessions<&S::heartbeat_ms>("sessions.heartbeat_ms"),
    sessions<&S::sign_deadline_ms>("sessions.sign_deadline_ms"),
    sessions<&S::keygen_deadline_ms>("sessions.keygen_deadline_ms"),
    sessions<&S::max_sessions>("sessions.max_sessions"),
    sessions<&S::requests_per_second>("sessions.requests_per_second"),
    sessions<&S::max_envelope_bytes>("sessions.max_envelope_bytes"),
    sessions<&S::presignature_pool>("sessions.presignature_pool"),
    sessions<&S::presignature_limit>("sessions.presignature_limit"),
    key<&Config::metrics, &MetricsConfig::listen>("metrics.listen", kRestart),
    key<&Config::log_level>("log.level", kLive),
    key<&Config::log_format>("log.format", kLive),
    key<&Config::log_users>("log.users", kLive),
    key<&Config::audit>("log.audit", kLive),
};

bool same(const ipc::Peer& a, const ipc::Peer& b) {
  return a.fields() == b.fields();
}
bool same(const ipc::Initiator& a, const ipc::Initiator& b) {
  return a.fields() == b.fields();
}

/// "WHAT: a added, b changed, c removed"; empty if the lists agree.
template <class Entry>
std::string compare_lists(std::string_view what, const std::vector<Entry>& running,
                          const std::vector<Entry>& wanted, std::string Entry::* name) {
  std::string text;
  const auto note = [&](const Entry& entry, std::string_view how) {
    text += (text.empty() ? std::string(what) + ": " : ", ") + entry.*name + " " + std::string(how);
  };
  for (const Entry& entry : wanted) {
    const auto before = std::ranges::find(running, entry.*name, name);
    if (before == running.end()) {
      note(entry, "added");
    } else if (!same(*before, entry)) {
      note(entry, "changed");
    }
  }
  for (const Entry& entry : running) {
    if (std::ranges::find(wanted, entry.*name, name) == wanted.end()) {
      note(entry, "removed");
    }
  }
  return text;
}

/// This node's own identity is the key it holds, whatever a file says.
bool own_identity_changed(const Config& running, const Config& wanted) {
  const auto before = std::ranges::find(running.peers, running.node, &ipc::Peer::node);
  const auto after = std::ranges::find(wanted.peers, running.node, &ipc::Peer::node);
  return after == wanted.peers.end() || before == running.peers.end() ||
         before->identity != after->identity;
}

}  // namespace

ConfigDifference compare_configs(const Config& running, const Config& wanted) {
  ConfigDifference out;
  for (const Key& key : kKeys) {
    if (!key.same(running, wanted)) {
      (key.change == kLive ? out.live : out.restart).emplace_back(key.name);
    }
  }
  if (auto peers = compare_lists("peers", running.peers, wanted.peers, &ipc::Peer::node);
      !peers.empty()) {
    (own_identity_changed(running, wanted) ? out.restart : out.live).push_back(std::move(peers));
  }
  if (auto initiators =
          compare_lists("initiators", running.initiators, wanted.initiators, &ipc::Initiator::name);
      !initiators.empty()) {
    out.live.push_back(std::move(initiators));
  }
  return out;
}

Config with_live_changes(const Config& running, const Config& wanted) {
  Config out = running;
  for (const Key& key : kKeys) {
    if (key.change == kLive) {
      key.take(out, wanted);
    }
  }
  if (!own_identity_changed(running, wanted)) {
    out.peers = wanted.peers;
  }
  out.initiators = wanted.initiators;
  return out;
}

std::vector<std::string_view> compared_keys() {
  std::vector<std::string_view> names;
  for (const Key& key : kKeys) {
    names.push_back(key.name);
  }
  return names;
}

}  // namespace cosigner::supervisor
