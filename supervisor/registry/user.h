#pragma once
// One user as the registry keeps it. Private to supervisor/registry.

#include <algorithm>
#include <deque>
#include <limits>

#include "supervisor/registry/registry.h"

namespace cosigner::supervisor {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
/// Heartbeats come every 500 ms while sessions run; a count older than this is no longer believed.
inline constexpr std::int64_t kSessionsFreshMs = 3000;
/// A user that died stays visible to operators for this long after it was last active.
inline constexpr std::int64_t kRememberDeathsMs = 3'600'000;
/// Spawns that may come at once before the rate bites.
inline constexpr std::int64_t kSpawnBurstUs = 250'000;

struct Registry::User {
  explicit User(std::string id) : name(std::move(id)) {}

  std::string name;
  UserState state = UserState::kAbsent;

  // The worker. generation ≠ 0: forked and not reaped.
  std::uint64_t generation = 0;
  bool greeted = false;          ///< this worker has said hello
  bool ready = false;            ///< this worker has been ready
  bool counts_starting = false;  ///< part of Registry::starting_
  bool leaving = false;          ///< it agreed to go, or was told to drain
  std::uint64_t ask = 0;         ///< ≠ 0: asked to go, has not replied
  KillReason kill = KillReason::kNone;
  std::uint32_t sessions = 0;

  // Work.
  std::deque<Waiting> queued;  ///< not delivered
  std::unordered_map<std::uint64_t, Waiting> delivered;
  std::size_t bytes = 0;  ///< envelopes of both

  // Times.
  std::int64_t wanted_at = 0;    ///< starting: since when a worker is wanted
  std::int64_t phase_began = 0;  ///< fork, ask, agreement or kill
  std::int64_t last_active = 0;
  std::int64_t last_sign = 0;    ///< of life
  std::int64_t sessions_at = 0;  ///< the heartbeat that brought `sessions`
  std::int64_t until = 0;        ///< end of backoff or quarantine

  // History.
  RestartBudget budget;
  std::uint64_t starts = 0;
  std::uint64_t deaths = 0;
  std::uint64_t start_failures = 0;
  std::string last_death;
  std::string last_crash;
  std::string last_request;

  // Places in the registry's lists.
  std::optional<std::list<User*>::iterator> spawn_place;
  std::optional<std::list<User*>::iterator> idle_place;
  std::optional<std::int64_t> scheduled_at;

  [[nodiscard]] bool live() const { return generation != 0; }
  [[nodiscard]] bool serves() const {
    return state == UserState::kReady || state == UserState::kBusy;
  }
  /// Told to drain, and at work on this session: asked for it again, it has the same answer for
  /// both. A refusal would count against the request beside those of nodes that went down earlier.
  [[nodiscard]] bool finishes(const SessionId& session) const {
    return leaving && kill == KillReason::kNone &&
           std::ranges::any_of(delivered, [&session](const auto& entry) {
             return entry.second.info.session == session;
           });
  }
};

}  // namespace cosigner::supervisor
