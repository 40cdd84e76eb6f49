#pragma once
// One user as the registry keeps it, and where all of them are kept. Private to
// supervisor/registry.

#include <algorithm>
#include <limits>

#include "supervisor/registry/waiting.h"

namespace cosigner::supervisor {

inline constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
/// Heartbeats come every 500 ms while sessions run; a count older than this is no longer believed.
inline constexpr std::int64_t kSessionsFreshMs = 3000;
/// A user that died stays visible to operators for this long after it was last active.
inline constexpr std::int64_t kRememberDeathsMs = 3'600'000;
/// Spawns that may come at once before the rate bites.
inline constexpr std::int64_t kSpawnBurstUs = 250'000;

/// What is known of a user's deaths; most users have none.
struct Registry::History {
  RestartBudget budget;
  std::uint64_t deaths = 0;
  std::uint64_t start_failures = 0;
  std::string last_death;
  std::string last_crash;
  std::string last_request;
};

/// Three cache lines: a request and its answer need the first two, what starts and ends workers
/// the third, and a death what hangs from it.
struct Registry::User {
  // Who, and the worker. generation ≠ 0: forked and not reaped.
  alignas(64) std::string name;
  std::uint64_t generation = 0;
  std::uint64_t ask = 0;  ///< ≠ 0: asked to go, has not replied
  std::uint32_t sessions = 0;
  std::uint32_t slot = 0;  ///< its place in Users
  UserState state = UserState::kAbsent;
  KillReason kill = KillReason::kNone;
  bool greeted = false;          ///< this worker has said hello
  bool ready = false;            ///< this worker has been ready
  bool counts_starting = false;  ///< part of Registry::starting_
  bool leaving = false;          ///< it agreed to go, or was told to drain
  bool known = false;            ///< false: a slot that nobody has

  // Work, and the times that move with it.
  alignas(64) std::int64_t last_active = 0;
  std::int64_t last_sign = 0;          ///< of life
  std::int64_t sessions_at = 0;        ///< the heartbeat that brought `sessions`
  std::int64_t scheduled_at = kNever;  ///< in Registry::timers_; kNever: not in them
  std::size_t bytes = 0;               ///< envelopes of both lists
  WaitingList queued;                  ///< not delivered
  WaitingList delivered;
  std::uint32_t entries = 0;  ///< of both lists

  // Starts and ends.
  alignas(64) std::int64_t wanted_at = 0;  ///< starting: since when a worker is wanted
  std::int64_t phase_began = 0;            ///< fork, ask, agreement or kill
  std::int64_t until = 0;                  ///< end of backoff or quarantine
  std::uint64_t starts = 0;
  std::unique_ptr<History> history;  ///< nothing before the first death

  [[nodiscard]] bool live() const { return generation != 0; }
  [[nodiscard]] bool serves() const {
    return state == UserState::kReady || state == UserState::kBusy;
  }
  /// Told to drain, and at work on this session: asked for it again, it has the same answer for
  /// both. A refusal would count against the request beside those of nodes that went down earlier.
  [[nodiscard]] bool finishes(const SessionId& session) const {
    return leaving && kill == KillReason::kNone &&
           delivered.any(
               [&session](const Waiting& waiting) { return waiting.info.session == session; });
  }
  [[nodiscard]] bool has_deaths() const { return history && history->deaths > 0; }
  History& remember() {
    if (!history) {
      history = std::make_unique<History>();
    }
    return *history;
  }
};

/// All users, by name and by slot. A record stays where it is while its user is known; the slot of
/// one that is forgotten serves the next.
class Registry::Users {
 public:
  [[nodiscard]] std::size_t size() const { return by_name_.size(); }
  [[nodiscard]] User& at(std::uint32_t slot) const {
    return (*blocks_[slot / kBlock])[slot % kBlock];
  }
  [[nodiscard]] User* find(std::string_view name) const {
    const auto slot = by_name_.find(hash_of(name), [this, name](std::uint32_t candidate) {
      return at(candidate).name == name;
    });
    return slot ? &at(*slot) : nullptr;
  }
  /// Requires that nobody has this name.
  User& add(const std::string& name) {
    if (free_.empty()) {
      add_block();
    }
    User& user = at(free_.back());
    user.name = name;
    user.known = true;
    by_name_.insert(hash_of(name), user.slot);
    free_.pop_back();
    return user;
  }
  void remove(User& user) {
    by_name_.erase(hash_of(user.name), user.slot);
    const std::uint32_t slot = user.slot;
    user = {};
    user.slot = slot;
    free_.push_back(slot);
  }
  /// As they are now: what is done to one may remove it.
  [[nodiscard]] std::vector<User*> all() const {
    std::vector<User*> out;
    out.reserve(size());
    for (const auto& block : blocks_) {
      for (User& user : *block) {
        if (user.known) {
          out.push_back(&user);
        }
      }
    }
    return out;
  }

 private:
  static_assert(sizeof(User) == std::size_t{3} * 64, "a member too many in one of its lines");
  static constexpr std::uint32_t kBlock = 64;
  using Block = std::array<User, kBlock>;

  static std::uint64_t hash_of(std::string_view name) {
    return std::hash<std::string_view>{}(name);
  }
  void add_block() {
    const auto first = static_cast<std::uint32_t>(blocks_.size() * kBlock);
    Block& block = *blocks_.emplace_back(std::make_unique<Block>());
    for (std::uint32_t i = kBlock; i-- > 0;) {
      block[i].slot = first + i;
      free_.push_back(first + i);  // the first of them is taken first
    }
  }

  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<std::uint32_t> free_;
  TaggedTable<std::uint32_t> by_name_;
};

}  // namespace cosigner::supervisor
