#include "supervisor/ctl/doctor_findings.h"

#include <algorithm>
#include <cstdlib>

#include "supervisor/config/cross_check.h"
#include "supervisor/ctl/json_part.h"
#include "supervisor/ctl/table.h"

namespace cosigner::ctl {
namespace {

constexpr std::uint64_t kLittleSpace = 256ULL << 20;
constexpr std::uint64_t kTooLittleSpace = 32ULL << 20;
constexpr std::uint64_t kMaxPayload = 4U << 20;  ///< ipc: a 2 MiB request, its answer, frames
/// Certificates allow five minutes between two nodes; beyond half of a minute somebody should look.
constexpr std::int64_t kClockErrorUs = 30'000'000;
/// Each worker: itself and some five threads.
constexpr std::uint64_t kThreadsPerWorker = 6;
/// Each worker's own; guarded pages around its shares and channel keys.
constexpr std::uint64_t kLockedPerWorker = 64U << 10;
constexpr std::int64_t kSkewOnOneHostMs = 60'000;

}  // namespace

std::vector<Finding> judge_status(const Json& status) {
  std::vector<Finding> out;
  const bool ready = flag_of(status, "ready");
  std::string degraded;
  for (const Json& reason : part(status, "degraded")) {
    degraded += (degraded.empty() ? "" : ", ") + reason.get<std::string>();
  }
  out.push_back({"node", ready ? Verdict::kOk : Verdict::kFailed,
                 text_of(status, "node") + ", version " + text_of(status, "version") +
                     (ready ? ", ready" : ", not ready") +
                     (degraded.empty() ? "" : ": " + degraded),
                 ready ? "" : "see the node's log: journalctl -u cosigner"});
  const Json& broker = part(status, "broker");
  const bool connected = flag_of(broker, "connected");
  out.push_back({"credentials", connected ? Verdict::kOk : Verdict::kFailed,
                 connected ? "the broker accepts this node's"
                           : "the gateway has no connection: " + text_of(broker, "detail"),
                 connected ? ""
                           : "if the broker is reachable it does not know this node's keys: import "
                             "a newer bundle, restart the nats-servers"});
  std::size_t nodes = 0;
  std::string absent;
  for (const Json& peer : part(status, "peers")) {
    ++nodes;
    if (!flag_of(peer, "self") && !flag_of(peer, "present")) {
      absent += (absent.empty() ? "" : ", ") + text_of(peer, "node");
    }
  }
  out.push_back(
      {"peers", absent.empty() ? Verdict::kOk : Verdict::kWarning,
       absent.empty() ? "all " + std::to_string(nodes) + " nodes are present" : "absent: " + absent,
       absent.empty() ? ""
                      : "look there: is it up, does its nats-server reach the hub, are "
                        "the clocks less than five minutes apart?"});
  const auto quarantined = number_of(part(status, "workers"), "quarantined");
  if (quarantined > 0) {
    out.push_back({"users", Verdict::kWarning,
                   std::to_string(quarantined) + " users are in quarantine",
                   "cosignerctl users says why; cosignerctl clear --user ID lifts it"});
  }
  return out;
}

std::vector<Finding> judge_self_check(const Json& reply, std::int64_t now_ms) {
  std::vector<Finding> out;
  const Json& store = part(reply, "store");
  const std::string structure = text_of(store, "structure");
  out.push_back(
      {"store",
       structure == "sound"     ? Verdict::kOk
       : structure == "unknown" ? Verdict::kWarning
                                : Verdict::kFailed,
       structure == "sound" ? "its structure is sound" : text_of(store, "detail"),
       structure == "sound" ? ""
       : structure == "unknown"
           ? "stop the node, then: sqlite3 STATE/cosigner.db "
             "'PRAGMA quick_check'"
           : "stop the node; README.Debian, \"Backup\", says which copies may take its place"});
  out.push_back(judge_space(number_of(reply, "free_bytes")));
  const std::int64_t skew = static_cast<std::int64_t>(number_of(reply, "wall_ms")) - now_ms;
  if (std::abs(skew) > kSkewOnOneHostMs) {
    out.push_back({"clock", Verdict::kFailed, "the node's clock differs from this program's",
                   "are both on the same host?"});
  }
  const Json& limits = part(reply, "limits");
  const std::uint64_t workers = number_of(reply, "max_workers");
  const auto limit = [&](const char* check, std::uint64_t allowed, std::uint64_t wanted,
                         std::uint64_t count, const char* remedy) {
    const bool enough = allowed >= wanted;
    out.push_back({check, enough ? Verdict::kOk : Verdict::kWarning,
                   (allowed == UINT64_MAX ? "no limit" : std::to_string(allowed) + " allowed") +
                       ", " + std::to_string(wanted) + " for " + std::to_string(count) + " workers",
                   enough ? "" : remedy});
  };
  // A node has fewer workers than it was asked for where it may not open enough of them.
  const std::uint64_t asked = std::max(workers, number_of(reply, "workers_asked"));
  limit("descriptors", number_of(limits, "descriptors"), supervisor::descriptors_needed(asked),
        asked, "raise LimitNOFILE= of the unit and restart it, or lower max_workers");
  limit("processes", number_of(limits, "processes"), workers * kThreadsPerWorker, workers,
        "raise LimitNPROC= of the unit, or lower max_workers");
  limit("tasks", number_of(limits, "tasks"), workers * kThreadsPerWorker, workers,
        "raise TasksMax= of the unit, or lower max_workers");
  const std::uint64_t locked = number_of(limits, "locked_memory");
  // The node's identity and encryption keys are in locked memory wherever that is possible.
  const bool held = !text_of(limits, "locked_here").starts_with("0 ");
  const bool lockable = held && locked >= kLockedPerWorker;
  out.push_back({"locked memory", lockable ? Verdict::kOk : Verdict::kWarning,
                 lockable ? "enough for every worker's secrets"
                 : held   ? human_bytes(locked) + " allowed"
                          : "the node may not lock memory",
                 lockable ? ""
                 : held   ? "raise LimitMEMLOCK= of the unit: secrets may be swapped out"
                          : "mlock is refused by LimitMEMLOCK= or by a system-call filter around "
                            "the node: secrets may be swapped out"});
  const Json& sandbox = part(reply, "sandbox");
  const bool unread = text_of(sandbox, "no_new_privileges").empty();
  const bool filtered =
      text_of(sandbox, "seccomp") == "2" && text_of(sandbox, "no_new_privileges") == "1";
  out.push_back({"sandbox", filtered ? Verdict::kOk : Verdict::kWarning,
                 filtered ? "seccomp is in force"
                 : unread ? "the gateway's walls could not be read"
                          : "the gateway runs without seccomp",
                 filtered ? ""
                 : unread ? "is it still starting, or is /proc hidden from the node "
                            "(ProtectProc= of the unit)?"
                          : "is this a sanitizer build, or is the gateway still starting?"});
  const std::uint64_t landlock = number_of(sandbox, "landlock");
  const bool ports = landlock >= 4;
  const bool refused = flag_of(sandbox, "landlock_refused");
  out.push_back(
      {"landlock", ports ? Verdict::kOk : Verdict::kWarning,
       refused         ? "refused by the system-call filter around the node"
       : landlock == 0 ? "not in this kernel"
                       : "the kernel has version " + std::to_string(landlock),
       ports ? ""
       : refused
           ? "SystemCallFilter= of the unit, or the container's own filter, must allow "
             "landlock_create_ruleset, landlock_add_rule and landlock_restrict_self"
           : "from Linux 6.7 on workers can reach the broker's port alone; until then seccomp "
             "and the unit's address filter stand"});
  return out;
}

std::vector<Finding> judge_kernel(const KernelFacts& kernel, std::uint64_t max_workers) {
  std::vector<Finding> out;
  const bool exact = kernel.clock_synchronised && kernel.clock_error_us <= kClockErrorUs;
  out.push_back({"clock", exact ? Verdict::kOk : Verdict::kWarning,
                 kernel.clock_synchronised
                     ? "synchronised, off by " +
                           std::to_string((kernel.clock_error_us + 999) / 1000) + " ms at most"
                     : "not synchronised",
                 exact ? ""
                       : "install systemd-timesyncd or chrony: nodes refuse each other when clocks "
                         "are five minutes apart, and requests expire early"});
  const std::uint64_t wanted = max_workers * kThreadsPerWorker;
  out.push_back({"pid_max", kernel.pid_max >= wanted ? Verdict::kOk : Verdict::kWarning,
                 std::to_string(kernel.pid_max) + ", and " + std::to_string(wanted) + " for " +
                     std::to_string(max_workers) + " workers",
                 kernel.pid_max >= wanted ? "" : "sysctl kernel.pid_max, or lower max_workers"});
  return out;
}

Finding judge_space(std::uint64_t free) {
  return {"space",
          free < kTooLittleSpace ? Verdict::kFailed
          : free < kLittleSpace  ? Verdict::kWarning
                                 : Verdict::kOk,
          human_bytes(free) + " free for the store",
          free < kLittleSpace ? "make room: a full disk ends key generation and then signing" : ""};
}

BrokerFacts parse_broker_info(std::string_view line) {
  BrokerFacts facts;
  if (!line.starts_with("INFO ")) {
    return facts;
  }
  const Json info = Json::parse(line.substr(5), nullptr, false);
  if (!info.is_object()) {
    return facts;
  }
  facts.reached = true;
  facts.version = text_of(info, "version");
  facts.max_payload = number_of(info, "max_payload");
  facts.authentication = flag_of(info, "auth_required");
  return facts;
}

Finding judge_broker(const std::string& url, const BrokerFacts& broker) {
  if (!broker.reached) {
    return {"broker", Verdict::kFailed, "no nats-server answers at " + url,
            "start it: systemctl status cosigner-nats@leaf"};
  }
  const std::string what = "nats-server " + broker.version + " at " + url;
  if (!broker.authentication) {
    return {"broker", Verdict::kFailed, what + " asks for no credentials",
            "another server has this port? systemctl disable --now nats-server"};
  }
  if (broker.max_payload < kMaxPayload) {
    return {"broker", Verdict::kFailed,
            what + " takes messages of " + human_bytes(broker.max_payload),
            "max_payload: 4194304 in its configuration"};
  }
  return {"broker", Verdict::kOk, what, ""};
}

}  // namespace cosigner::ctl
