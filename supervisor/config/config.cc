#include "supervisor/config/config.h"

#include <unistd.h>

#include <filesystem>
#include <map>

#include "ipc/names.h"
#include "supervisor/broker/nkey.h"
#include "supervisor/config/cross_check.h"
#include "supervisor/config/key_files.h"
#include "supervisor/config/listen_address.h"
#include "supervisor/config/member_files.h"
#include "supervisor/config/toml_file.h"

namespace cosigner::supervisor {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kYearSeconds = 366ULL * 24 * 3600;
constexpr std::uint64_t kHourMs = 3600ULL * 1000;
/// sun_path is 108 bytes, with its terminator.
constexpr std::size_t kMaxSocketPath = 107;

std::string absolute(const fs::path& base, const std::string& path) {
  return path.empty() ? path : (base / path).lexically_normal().string();
}

/// "nats://HOST[:PORT]"
bool is_broker_url(std::string_view url) {
  constexpr std::string_view kScheme = "nats://";
  if (!url.starts_with(kScheme)) {
    return false;
  }
  url.remove_prefix(kScheme.size());
  const std::size_t colon = url.rfind(':');
  const std::string_view host = url.substr(0, colon);
  if (host.empty() || host.find_first_of("/@ ") != std::string_view::npos) {
    return false;
  }
  return colon == std::string_view::npos || parse_port(url.substr(colon + 1)).has_value();
}

void read_broker(TomlFields& root, const fs::path& base, const KeyFiles& key_files,
                 BrokerConfig& out, Problems& problems) {
  const toml::table* table = root.table("broker", true);
  if (table == nullptr) {
    return;
  }
  TomlFields fields(*table, "broker", problems);
  fields.text("url", out.url, true);
  if (!out.url.empty() && !is_broker_url(out.url)) {
    fields.complain("url", "'broker.url' is " + out.url,
                    "use nats://127.0.0.1:4222 or the like: the broker of this host");
  }
  fields.text("account", out.account, true);
  if (!out.account.empty() && !broker::decode_public(broker::NkeyKind::kAccount, out.account)) {
    fields.complain("account", "'broker.account' is no public nkey of an account",
                    "use the account's public key, 56 characters beginning with A");
  }
  for (const auto& [key, path] : {std::pair<std::string_view, std::string*>{
                                      "worker_signing_key_file", &out.worker_signing_key_file},
                                  {"gateway_signing_key_file", &out.gateway_signing_key_file}}) {
    fields.text(key, *path, true);
    *path = absolute(base, *path);
    key_files.check(fields, key, *path);
  }
  fields.finish();
}

void read_workers(TomlFields& root, WorkerLimits& out, Problems& problems) {
  const toml::table* table = root.table("workers", false);
  if (table == nullptr) {
    return;
  }
  TomlFields fields(*table, "workers", problems);
  fields.number("max_workers", out.max_workers, 1, 1'000'000);
  fields.number("idle_timeout_s", out.idle_timeout_s, 1, kYearSeconds);
  fields.number("mailbox_entries", out.mailbox_entries, 1, 65536);
  fields.number("mailbox_bytes", out.mailbox_bytes, 4U << 20, 16U << 20);
  fields.number("total_mailbox_bytes", out.total_mailbox_bytes, 4U << 20, 1ULL << 40U);
  fields.number("max_restarts", out.max_restarts, 1, 1000);
  fields.number("restart_window_s", out.restart_window_s, 1, kYearSeconds);
  fields.number("backoff_first_ms", out.backoff_first_ms, 1, kHourMs);
  fields.number("backoff_cap_ms", out.backoff_cap_ms, 1, kHourMs);
  fields.number("quarantine_s", out.quarantine_s, 1, kYearSeconds);
  fields.number("start_timeout_s", out.start_timeout_s, 1, 3600);
  fields.number("unresponsive_s", out.unresponsive_s, 1, 3600);
  fields.number("spawns_per_second", out.spawns_per_second, 1, 100'000);
  fields.number("starting_at_once", out.starting_at_once, 1, 10'000);
  fields.number("memory_max_bytes", out.memory_max_bytes, 16U << 20, 1ULL << 40U);
  fields.number("memory_floor_bytes", out.memory_floor_bytes, 0, 1ULL << 40U);
  fields.number("memory_pressure_percent", out.memory_pressure_percent, 0, 100);
  fields.number("tick_s", out.tick_s, 1, kYearSeconds);
  fields.number("stop_timeout_s", out.stop_timeout_s, 1, 3600);
  if (out.backoff_cap_ms < out.backoff_first_ms) {
    fields.complain("backoff_cap_ms", "'workers.backoff_cap_ms' is less than backoff_first_ms",
                    "use a number from " + std::to_string(out.backoff_first_ms));
  }
  fields.finish();
}

void read_sessions(TomlFields& root, ipc::Settings& out, Problems& problems) {
  const toml::table* table = root.table("sessions", false);
  if (table == nullptr) {
    return;
  }
  TomlFields fields(*table, "sessions", problems);
  fields.number("attempt_timer_ms", out.attempt_timer_ms, 10, kHourMs);
  fields.number("keygen_attempt_timer_ms", out.keygen_attempt_timer_ms, 100, kHourMs);
  fields.number("delivery_attempts", out.delivery_attempts, 1, 1000);
  fields.number("delivery_first_ms", out.delivery_first_ms, 1, kHourMs);
  fields.number("delivery_cap_ms", out.delivery_cap_ms, 1, kHourMs);
  fields.number("presence_interval_ms", out.presence_interval_ms, 10, kHourMs);
  fields.number("presence_timeout_ms", out.presence_timeout_ms, 20, kHourMs);
  // The registry takes a worker's word for three seconds (kSessionsFreshMs): of three heartbeats in
  // that time, one may be late.
  fields.number("heartbeat_ms", out.heartbeat_ms, 10, 1000);
  fields.number("sign_deadline_ms", out.sign_deadline_ms, 100, kHourMs);
  fields.number("keygen_deadline_ms", out.keygen_deadline_ms, 100, kHourMs);
  fields.number("max_sessions", out.max_sessions, 1, 65536);
  fields.number("requests_per_second", out.requests_per_second, 1, 1'000'000);
  fields.number("max_envelope_bytes", out.max_envelope_bytes, 1024, 2U << 20);
  fields.number("presignature_pool", out.presignature_pool, 0, 100'000);
  fields.number("presignature_limit", out.presignature_limit, 0, 1'000'000);
  if (out.presence_timeout_ms <= out.presence_interval_ms) {
    fields.complain("presence_timeout_ms",
                    "'sessions.presence_timeout_ms' is not longer than presence_interval_ms",
                    "use about three times the interval");
  }
  fields.finish();
}

void read_control(TomlFields& root, ControlGroups& out, Problems& problems) {
  const toml::table* table = root.table("control", false);
  if (table == nullptr) {
    return;
  }
  TomlFields fields(*table, "control", problems);
  fields.text("view_group", out.view, false);
  fields.text("admin_group", out.admin, false);
  fields.finish();
}

void read_metrics(TomlFields& root, MetricsConfig& out, Problems& problems) {
  const toml::table* table = root.table("metrics", false);
  if (table == nullptr) {
    return;
  }
  TomlFields fields(*table, "metrics", problems);
  fields.text("listen", out.listen, false);
  if (const auto address = parse_listen_address(out.listen); !out.listen.empty() && !address) {
    fields.complain("listen", "'metrics.listen' is " + out.listen,
                    "use an address of this host's loopback and a port, such as 127.0.0.1:9464");
  }
  fields.finish();
}

void read_log(TomlFields& root, Config& out, Problems& problems) {
  const toml::table* table = root.table("log", false);
  if (table == nullptr) {
    return;
  }
  TomlFields fields(*table, "log", problems);
  std::string level = "info";
  std::string format = "text";
  fields.text("level", level, false);
  fields.text("format", format, false);
  static const std::map<std::string, LogLevel, std::less<>> kLevels{{"trace", LogLevel::kTrace},
                                                                    {"debug", LogLevel::kDebug},
                                                                    {"info", LogLevel::kInfo},
                                                                    {"warning", LogLevel::kWarning},
                                                                    {"error", LogLevel::kError}};
  if (const auto found = kLevels.find(level); found != kLevels.end()) {
    out.log_level = found->second;
  } else {
    fields.complain("level", "'log.level' is " + level, "use trace, debug, info, warning or error");
  }
  if (format == "text" || format == "json") {
    out.log_format = format == "text" ? LogFormat::kText : LogFormat::kJson;
  } else {
    fields.complain("format", "'log.format' is " + format, "use text or json");
  }
  std::string users = "plain";
  fields.text("users", users, false);
  if (users == "plain" || users == "hashed") {
    out.log_users = users == "plain" ? LogUsers::kPlain : LogUsers::kHashed;
  } else {
    fields.complain("users", "'log.users' is " + users, "use plain or hashed");
  }
  fields.boolean("audit", out.audit);
  fields.finish();
}

/// Beside this program, else where the package puts it.
std::string default_worker_program() {
  std::error_code ignored;
  const fs::path self = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path beside = self.parent_path() / "cosigner-worker";
  if (!self.empty() && ::access(beside.c_str(), X_OK) == 0) {
    return beside.string();
  }
  return "/usr/lib/cosigner/cosigner-worker";
}

void read_main(const toml::table& document, Config& out, Problems& problems,
               std::vector<std::string>* untold) {
  const fs::path base = fs::path(out.path).parent_path();
  const KeyFiles key_files(base, untold);
  TomlFields root(document, "", problems);
  root.text("cluster", out.cluster, true);
  if (!out.cluster.empty() && !valid_cluster_name(out.cluster)) {
    root.complain("cluster", "'" + out.cluster + "' is no cluster name",
                  "use 1 to 32 of a-z, 0-9 and '-'");
  }
  root.number("default_threshold", out.default_threshold, 2, kMaxNodes);
  root.text("node", out.node, true);
  if (!out.node.empty() && !valid_node_name(out.node)) {
    root.complain("node", "'" + out.node + "' is no node name",
                  "use 1 to 32 of a-z, 0-9 and '-', not 'all' or 'none'");
  }
  for (const auto& [key, path] :
       {std::pair<std::string_view, std::string*>{"state_directory", &out.state_directory},
        {"control_socket", &out.control_socket},
        {"identity_key_file", &out.identity_key_file},
        {"key_encryption_key_file", &out.key_encryption_key_file},
        {"peers_file", &out.peers_file},
        {"initiators_file", &out.initiators_file}}) {
    root.text(key, *path, true);
    *path = absolute(base, *path);
  }
  if (out.control_socket.size() > kMaxSocketPath) {
    root.complain("control_socket", "the path of the control socket is too long",
                  "use at most 107 bytes");
  }
  key_files.check(root, "identity_key_file", out.identity_key_file);
  key_files.check(root, "key_encryption_key_file", out.key_encryption_key_file);
  root.text("worker_program", out.worker_program, false);
  out.worker_program =
      out.worker_program.empty() ? default_worker_program() : absolute(base, out.worker_program);
  if (::access(out.worker_program.c_str(), X_OK) != 0) {
    root.complain("worker_program", out.worker_program + " is no program",
                  "install cosigner-worker, or set worker_program to its path");
  }
  read_broker(root, base, key_files, out.broker, problems);
  read_workers(root, out.workers, problems);
  read_sessions(root, out.sessions, problems);
  check_together(document, out, problems);
  read_control(root, out.control, problems);
  read_metrics(root, out.metrics, problems);
  read_log(root, out, problems);
  root.finish();
}

}  // namespace

std::string ConfigProblem::text() const {
  return file + ":" + (line > 0 ? std::to_string(line) + ":" : "") + " " + message + " (" + remedy +
         ")";
}

std::expected<Config, std::vector<ConfigProblem>> load_config(const std::string& path,
                                                              std::vector<std::string>* untold) {
  std::error_code ignored;
  Config config;
  config.path = fs::absolute(path, ignored).lexically_normal().string();
  Problems problems(path);
  const auto document = parse_file(config.path, problems);
  if (document) {
    read_main(*document, config, problems, untold);
  }
  check_shared(config.path, problems);
  std::vector<ConfigProblem> all;
  append(all, problems);
  if (!config.peers_file.empty()) {
    read_peers(config, all);
  }
  if (!config.initiators_file.empty()) {
    read_initiators(config, all);
  }
  if (document && !config.peers.empty() && config.default_threshold > config.peers.size()) {
    Problems late(config.path);
    TomlFields(*document, "", late)
        .complain("default_threshold",
                  "'default_threshold' is " + std::to_string(config.default_threshold) +
                      ", and the cluster has " + std::to_string(config.peers.size()) + " nodes",
                  "use a number from 2 to the number of nodes, or leave it out");
    append(all, late);
  }
  if (!all.empty()) {
    return std::unexpected(std::move(all));
  }
  return config;
}

}  // namespace cosigner::supervisor
