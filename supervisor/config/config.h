#pragma once
// The node's configuration: cosigner.toml, peers.toml and initiators.toml, read once and checked
// whole. Every mistake is reported with file, line and a remedy, not only the first.

#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "ipc/message_parts.h"

namespace cosigner::supervisor {

struct BrokerConfig {
  std::string url;      ///< nats://HOST:PORT of this host's nats-server
  std::string account;  ///< A…: public nkey of the account
  std::string worker_signing_key_file;
  std::string gateway_signing_key_file;
};

/// Limits of the user registry. Times in milliseconds unless the name says otherwise.
struct WorkerLimits {
  std::uint32_t max_workers = 10000;  ///< live processes at once
  std::uint32_t idle_timeout_s = 1800;
  std::uint32_t mailbox_entries = 256;             ///< unanswered requests of one user
  std::uint64_t mailbox_bytes = 8U << 20;          ///< their envelopes
  std::uint64_t total_mailbox_bytes = 256U << 20;  ///< of all users
  std::uint32_t max_restarts = 5;                  ///< deaths in the window ⇒ quarantine
  std::uint32_t restart_window_s = 60;
  std::uint32_t backoff_first_ms = 100;  ///< delay after the second death in a window; doubles
  std::uint32_t backoff_cap_ms = 10000;
  std::uint32_t quarantine_s = 600;  ///< time forgives
  std::uint32_t start_timeout_s = 10;
  std::uint32_t unresponsive_s = 10;
  std::uint32_t spawns_per_second = 1000;
  std::uint32_t starting_at_once = 64;            ///< forked and not ready yet
  std::uint64_t memory_max_bytes = 1U << 30;      ///< of one worker, where it has a cgroup
  std::uint64_t memory_floor_bytes = 256U << 20;  ///< less available: idle workers go; 0: never
  std::uint32_t memory_pressure_percent = 20;     ///< stalled for more: idle workers go; 0: never
  std::uint32_t tick_s = 60;
  std::uint32_t stop_timeout_s = 10;  ///< draining at shutdown
};

enum class LogLevel : std::uint8_t { kTrace, kDebug, kInfo, kWarning, kError };
enum class LogFormat : std::uint8_t { kText, kJson };
enum class LogUsers : std::uint8_t { kPlain, kHashed };

struct ControlGroups {
  std::string view;   ///< Unix group that may look; empty: none
  std::string admin;  ///< Unix group that may do everything; root and the node's user always may
};

struct MetricsConfig {
  std::string listen;  ///< ADDRESS:PORT of the HTTP listener, loopback only; empty: none
};

struct Config {
  std::string path;  ///< of cosigner.toml, absolute
  std::string cluster;
  std::uint16_t default_threshold = 0;  ///< t of new keys where keygen names none; 0: no default
  std::string node;
  std::string state_directory;
  std::string control_socket;
  std::string identity_key_file;
  std::string key_encryption_key_file;
  std::string peers_file;
  std::string initiators_file;
  std::string worker_program;  ///< never empty once loaded
  BrokerConfig broker;
  WorkerLimits workers;
  /// What the file says of workers.max_workers, where this process may not open the descriptors for
  /// as many (fit_workers()); 0: there are as many as were asked for.
  std::uint32_t workers_asked = 0;
  ipc::Settings sessions;
  ControlGroups control;
  MetricsConfig metrics;
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  LogUsers log_users = LogUsers::kPlain;
  bool audit = true;
  std::vector<ipc::Peer> peers;  ///< sorted by node, this node included
  std::vector<ipc::Initiator> initiators;
};

struct ConfigProblem {
  std::string file;
  std::uint32_t line = 0;  ///< 0: the file as a whole
  std::string message;
  std::string remedy;

  /// "FILE:LINE: message (remedy)"
  [[nodiscard]] std::string text() const;
  friend bool operator==(const ConfigProblem&, const ConfigProblem&) = default;
};

/// Reads and checks all three files; key files are only looked at (existence, mode, owner), not
/// read. `untold`: whoever asks need not be the node; what this user may not look at is listed
/// there ("KEY: FILE") and is no mistake. Without it the node itself asks, and it is one.
[[nodiscard]] std::expected<Config, std::vector<ConfigProblem>> load_config(
    const std::string& path, std::vector<std::string>* untold = nullptr);

}  // namespace cosigner::supervisor
