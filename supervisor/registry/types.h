#pragma once
// What goes into the user registry and what comes out of it. Times are monotonic milliseconds.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/error.h"
#include "supervisor/registry/budget.h"

namespace cosigner::supervisor {

enum class UserState : std::uint8_t {
  kAbsent,       ///< no process
  kStarting,     ///< waiting for a slot, forked, or not yet subscribed
  kReady,        ///< live, nothing in flight
  kBusy,         ///< live, something in flight
  kDraining,     ///< live, takes no more work, and will end: evicted, stopped or killed
  kBackoff,      ///< died; waits before the next start
  kQuarantined,  ///< died too often; waits for an operator or for time
};
inline constexpr std::size_t kUserStates = 7;
[[nodiscard]] std::string_view user_state_name(UserState state);

struct RegistryLimits {
  std::size_t max_workers = 10'000;
  std::size_t mailbox_entries = 256;     ///< unanswered requests of one user
  std::size_t mailbox_bytes = 8U << 20;  ///< their envelopes, and entry_bytes for each
  std::size_t total_mailbox_bytes = 256U << 20;
  std::size_t entry_bytes = 1024;      ///< about what a request and a user of its own cost here
  std::size_t waiting_users = 10'000;  ///< for a process
  std::size_t starting_at_once = 64;
  std::int64_t spawns_per_second = 1000;
  std::int64_t idle_timeout_ms = 1'800'000;
  std::int64_t start_timeout_ms = 10'000;
  std::int64_t unresponsive_ms = 10'000;
  std::int64_t quarantine_ms = 600'000;
  BudgetLimits budget;
};

/// Who waits for an answer, and what to tell them. The registry carries it and looks at
/// `has_client` only.
struct RequestInfo {
  std::uint64_t number = 0;     ///< given by the registry
  bool has_client = true;       ///< false: woken by a peer, nobody waits
  std::int64_t arrived_us = 0;  ///< monotonic, for whoever measures the wait
  std::uint64_t gateway_generation = 0;
  std::uint64_t gateway_request = 0;
  SessionId session;
  std::string operation;
  std::string key;
};

enum class ExitKind : std::uint8_t {
  kExited,       ///< `value`: exit status
  kSignal,       ///< `value`: signal
  kOutOfMemory,  ///< hit its memory limit
  kForkFailed,   ///< never lived
};
struct ExitCause {
  ExitKind kind = ExitKind::kExited;
  int value = 0;
  std::string crash;          ///< what its crash record says, for operators; empty: it left none
  std::uint64_t request = 0;  ///< by that record: the request it was working on

  /// "ended by signal 11 (SIGSEGV)": for callers too, who learn nothing of the crash record.
  [[nodiscard]] std::string text() const;
  friend bool operator==(const ExitCause&, const ExitCause&) = default;
};

/// Why the registry ends a worker. kill_reason_text() has a sentence for each.
enum class KillReason : std::uint8_t {
  kNone,
  kUnresponsive,
  kStartTimeout,
  kSocketClosed,  ///< it closed its socket or spoke nonsense
  kStorage,       ///< the node could not read what it needs; not the worker's fault
  kRestart,       ///< operator
  kQuarantine,    ///< operator
  kShutdown,
  kLingered,  ///< agreed to go and did not
};
[[nodiscard]] std::string_view kill_reason_text(KillReason reason);

/// What a death is counted as; clean ends and those by order are none.
enum class DeathCause : std::uint8_t {
  kSignal,        ///< any but SIGKILL: it crashed
  kExit,          ///< it ended by itself, unasked
  kUnresponsive,  ///< silent with work in hand
  kStartTimeout,
  kOutOfMemory,
  kKilled,  ///< SIGKILL, from outside or for nonsense on its socket
};
inline constexpr std::size_t kDeathCauses = 6;
/// "signal", "exit", … as metrics name them.
[[nodiscard]] std::string_view death_cause_name(DeathCause cause);

/// What a request can be refused for as `overloaded`: the limit that it met.
enum class Limit : std::uint8_t {
  kMailboxEntries,     ///< requests of this user
  kMailboxBytes,       ///< of this user
  kTotalMailboxBytes,  ///< of all users
  kWaitingUsers,       ///< for a process
  kWorkers,            ///< as many as there may be, and none of them idle
  kSpawnRate,          ///< it waited for a start until a start's time was over
  kEnding,             ///< it waited for the end of the user's last process that long
};
inline constexpr std::size_t kLimits = 7;
/// "mailbox_entries", … as metrics name them.
[[nodiscard]] std::string_view limit_name(Limit limit);

namespace action {

/// Order a durable block of generation numbers; answer with generations_reserved().
struct ReserveGenerations {};
struct Fork {
  std::string user;
  std::uint64_t generation = 0;
};
struct Deliver {
  std::uint64_t generation = 0;
  std::uint64_t number = 0;
  ByteVector envelope;
  std::int64_t arrived_us = 0;  ///< RequestInfo's
};
/// SIGKILL; answer with exited() once it is reaped.
struct Kill {
  std::uint64_t generation = 0;
  KillReason reason = KillReason::kNone;
};
struct AskEvict {
  std::uint64_t generation = 0;
  std::uint64_t ask = 0;
};
struct Drain {
  std::uint64_t generation = 0;
  std::int64_t deadline_ms = 0;  ///< from now
};
/// Answer this request with an error; it is forgotten here. Only for requests with a client.
struct Fail {
  std::string user;
  std::uint64_t generation = 0;  ///< of the worker it waited for; 0: none lived
  RequestInfo info;
  Error error;
};
/// A user's state changed. Between ready and busy it does so twice per request.
struct Changed {
  std::string user;
  UserState from = UserState::kAbsent;
  UserState to = UserState::kAbsent;
  std::uint64_t generation = 0;
  std::string reason;
};
/// An asked worker has something in flight and stays.
struct EvictDeclined {
  std::string user;
};

}  // namespace action

using Action = std::variant<action::ReserveGenerations, action::Fork, action::Deliver, action::Kill,
                            action::AskEvict, action::Drain, action::Fail, action::Changed,
                            action::EvictDeclined>;

/// For `users` and `user`.
struct UserView {
  std::string user;
  UserState state = UserState::kAbsent;
  std::uint64_t generation = 0;
  std::int64_t last_active_ms = 0;  ///< monotonic
  std::uint32_t sessions = 0;
  std::size_t in_flight = 0;
  std::size_t queued = 0;
  std::uint64_t starts = 0;
  std::uint64_t deaths = 0;
  std::uint64_t start_failures = 0;  ///< deaths before it was ready, counted in deaths as well
  std::string last_death;
  std::string last_crash;        ///< the crash record of the last death that left one
  std::string last_request;      ///< "sign k1 <session>": what it died of last, as far as known
  std::int64_t retry_in_ms = 0;  ///< backoff, quarantine: time left
};

struct RegistryCounters {
  std::uint64_t requests = 0;
  std::uint64_t answers = 0;
  std::uint64_t failed = 0;      ///< answered with an error by the registry
  std::uint64_t overloaded = 0;  ///< of those: a limit
  std::array<std::uint64_t, kLimits> overloaded_by_limit{};
  std::uint64_t spawns = 0;
  std::uint64_t deaths = 0;
  std::array<std::uint64_t, kDeathCauses> deaths_by_cause{};
  std::uint64_t evictions = 0;
  std::uint64_t evictions_declined = 0;
  std::uint64_t asked_for_memory = 0;  ///< idle workers asked to go because memory ran short
  std::uint64_t unresponsive = 0;
  std::uint64_t start_failures = 0;
  std::uint64_t quarantines = 0;
  std::uint64_t stray_inputs = 0;  ///< answers and replies that belong to nothing
};

}  // namespace cosigner::supervisor
