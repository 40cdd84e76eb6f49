#pragma once
// The user registry: which user has which process, what waits for it, and what happens when it
// dies. A pure state machine: everything that happens comes in through a method with the time,
// everything it wants done goes out as an Action; no clock, socket, process or log of its own, so
// races are tried by the thousand under a seeded scheduler (tests/unit/supervisor).
//
//   absent → starting → ready ⇄ busy → draining → absent; on death → absent, backoff → starting,
//   or quarantined.
//
// Promises. What the state shows of them, check_invariants() in registry/invariants.cc checks; the
// tests' registry_world.h, which does what the actions say, checks all of them from outside:
//   · at most one live worker per user; the next is forked only after exited() of the last;
//   · generations are never used twice;
//   · every request with a client is answered exactly once: by answer() or by a Fail action;
//   · a request that races an eviction is served by the next worker, never dropped;
//   · what is undelivered has not executed; what was delivered may have.
//
// What comes with a request or a frame is O(1) in the number of users, and touches as little cold
// memory as it can: see User in registry/user.h. Timers that fire are O(log n); what is about all
// users (operators' views and orders, paused()) is O(n).

#include <array>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "supervisor/registry/deadline_heap.h"
#include "supervisor/registry/slot_list.h"
#include "supervisor/registry/tagged_table.h"
#include "supervisor/registry/types.h"

namespace cosigner::supervisor {

class Registry {
 public:
  Registry(RegistryLimits limits, Random& random);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // ---- what happens

  /// A block [first, first + count) is durably this node's. 0: it could not be reserved.
  void generations_reserved(std::int64_t now, std::uint64_t first, std::uint64_t count);
  void request(std::int64_t now, const std::string& user, RequestInfo info, ByteVector envelope);
  /// The fork came to nothing, for no fault of the user: the zygote died, the system is full. No
  /// process of this generation exists.
  void fork_failed(std::int64_t now, std::uint64_t generation, std::string_view why);
  /// The worker runs: it has said hello. What keeps one from it is the node's trouble: a slow
  /// zygote, a machine without a processor to spare.
  void greeted(std::uint64_t generation);
  void ready(std::int64_t now, std::uint64_t generation);
  /// Whose answer this is; nothing if it answers no request of this worker (dropped, counted). The
  /// caller sends it if `has_client`.
  std::optional<RequestInfo> answer(std::int64_t now, std::uint64_t generation,
                                    std::uint64_t number);
  /// Any frame of the worker is a sign of life; a heartbeat brings its sessions as well.
  void alive(std::int64_t now, std::uint64_t generation);
  void heartbeat(std::int64_t now, std::uint64_t generation, std::uint32_t sessions);
  void evict_reply(std::int64_t now, std::uint64_t generation, std::uint64_t ask, bool agree);
  /// Its socket ended or carried nonsense while nobody had asked it to end.
  void socket_closed(std::int64_t now, std::uint64_t generation);
  /// The process is reaped, and all it had sent before has been handed in.
  void exited(std::int64_t now, std::uint64_t generation, const ExitCause& cause);
  /// This process itself did not run for so long: nobody's silence in that time counts against
  /// them. Signs of life may still lie unread.
  void paused(std::int64_t now, std::int64_t ms);
  /// Call when next_deadline() has passed; calling early does no harm.
  void on_timer(std::int64_t now);
  /// What this worker needs to start could not be read. Its requests fail with `error`; it is ended
  /// at no cost to its user's budget, and the next one is not started for a second.
  void load_failed(std::int64_t now, std::uint64_t generation, const Error& error);

  /// The host runs short of memory: asks up to `count` idle workers to go, the least recently used
  /// first, busy ones never. Returns how many were asked.
  std::size_t relieve(std::int64_t now, std::size_t count);

  // ---- operators

  /// A worker for the user although no request waits: it finds an operator's order in its start.
  /// Nothing to do if one lives or is on its way. Errors: shutting_down, quarantined.
  Expected<void> start(std::int64_t now, const std::string& user);
  /// Asks the user's worker to go if it is idle. Errors: unknown_user (no worker), conflict (busy
  /// or on its way up or down).
  Expected<void> evict(std::int64_t now, const std::string& user);
  /// Ends the user's worker; the next request gets a new one. Costs no budget. Errors:
  /// unknown_user.
  Expected<void> restart(std::int64_t now, const std::string& user);
  void quarantine(std::int64_t now, const std::string& user);
  /// Forgets deaths, backoff and quarantine. Errors: unknown_user.
  Expected<void> clear(std::int64_t now, const std::string& user);
  /// No more requests; workers finish what they have, those left at the deadline are killed. Again:
  /// an earlier deadline counts.
  void drain(std::int64_t now, std::int64_t deadline_ms);
  /// Limits for what comes from now on; what is over a lowered one may stay until it is done.
  void set_limits(std::int64_t now, const RegistryLimits& limits);
  /// A generation for the gateway, from the same numbers; nothing while none is reserved.
  std::optional<std::uint64_t> take_generation(std::int64_t now);
  [[nodiscard]] bool draining() const { return drain_deadline_.has_value(); }

  // ---- what it wants and knows

  [[nodiscard]] std::vector<Action> take_actions() { return std::exchange(actions_, {}); }
  /// The same; `out` loses what it held, and its memory takes the actions that come next.
  void take_actions(std::vector<Action>& out) {
    out.clear();
    if (out.capacity() > kActionsKept) {
      out = {};
    }
    std::swap(out, actions_);
  }
  [[nodiscard]] bool has_actions() const { return !actions_.empty(); }
  /// Of the next on_timer().
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;
  /// Live, with nothing in flight, and not asked to go.
  [[nodiscard]] std::size_t idle() const { return idle_.size(); }
  /// Workers that are forked and not reaped.
  [[nodiscard]] std::size_t live() const { return live_.size(); }
  [[nodiscard]] std::size_t in_state(UserState state) const {
    return counts_[static_cast<std::size_t>(state)];
  }
  /// Of all users' unanswered requests.
  [[nodiscard]] std::size_t mailbox_entries() const;
  [[nodiscard]] std::size_t mailbox_bytes() const { return total_bytes_; }
  [[nodiscard]] const RegistryCounters& counters() const { return counters_; }
  [[nodiscard]] std::vector<UserView> users(std::int64_t now) const;
  [[nodiscard]] std::optional<UserView> user(std::int64_t now, const std::string& user) const;
  /// The user whose live worker has this generation; empty if none.
  [[nodiscard]] std::string_view user_of(std::uint64_t generation) const;

  /// Nothing, or which promise is broken. O(users): for tests.
  [[nodiscard]] std::optional<std::string> check_invariants() const;

 private:
  static constexpr std::size_t kActionsKept = 4096;  ///< memory for so many may stay

  struct User;
  struct History;
  class Users;
  struct Waiting;
  class WaitingList;
  class Requests;

  User& add(const std::string& user);
  User* find(std::string_view user) const;
  User* find_live(std::uint64_t generation) const;
  void forget_if_idle(std::int64_t now, User& user);

  void set_state(User& user, UserState to, std::string_view reason);
  /// Ready or busy, whichever is true now; keeps the LRU list.
  void settle(std::int64_t now, User& user);
  void want_worker(std::int64_t now, User& user, std::string_view reason);
  void pump_spawns(std::int64_t now);
  void make_room(std::int64_t now);
  void deliver_queued(std::int64_t now, User& user);
  void ask_evict(std::int64_t now, User& user);
  void kill(std::int64_t now, User& user, KillReason reason);
  /// The worker is gone or will be: the next state, by budget and mailbox.
  void after_death(std::int64_t now, User& user, bool counts, const std::string& reason);
  void rest(std::int64_t now, User& user, std::string_view reason);

  /// What callers hear of a quarantine that ends at `until` (kNever: by an operator only).
  static Error quarantined(std::int64_t now, std::int64_t until);
  Error death_error(const User& user, const ExitCause& cause) const;
  void fail(User& user, Waiting& waiting, Error error);
  void count_overload(Limit limit, std::size_t requests = 1);
  void fail_queued(User& user, const Error& error);
  /// Behind a process that does not end, a request waits no longer than for one that starts.
  [[nodiscard]] std::int64_t queue_ends(const User& user) const;
  void expire_queued(std::int64_t now, User& user);
  /// `killer`: the request that is known to have ended the worker; 0: the last one is as likely.
  void fail_delivered(User& user, const Error& error, std::uint64_t killer = 0);
  void fail_everything(User& user, Error error);
  void refuse(const std::string& user, RequestInfo info, Error error);
  /// Forgets a request that is in no list any more, and returns who waits for its answer.
  RequestInfo close(Waiting& waiting);
  void end_ask(User& user);
  void end_starting(User& user);
  [[nodiscard]] bool may_spawn_now(std::int64_t now) const;
  void order_generations(std::int64_t now);

  /// The moment at which something is to happen to this user if nothing else does.
  [[nodiscard]] std::optional<std::int64_t> deadline_of(const User& user) const;
  void schedule(User& user);
  void unschedule(User& user);
  void expire(std::int64_t now, User& user);

  RegistryLimits limits_;
  RegistryLimits highest_;  ///< of each since the start: what check_invariants() may find in use
  Random& random_;
  std::vector<Action> actions_;
  RegistryCounters counters_;
  std::array<std::size_t, kUserStates> counts_{};

  std::unique_ptr<Users> users_;
  std::unique_ptr<Requests> requests_;  ///< of all users
  TaggedTable<std::uint32_t> live_;     ///< by generation, the slot of its user
  DeadlineHeap timers_;
  SlotList spawn_queue_;      ///< in kStarting, not yet forked; oldest first
  SlotList idle_;             ///< in kReady and not asked to go; least recently used first
  std::size_t starting_ = 0;  ///< forked and not ready
  std::size_t evicting_ = 0;  ///< asked or agreed to go, not yet reaped
  std::size_t total_bytes_ = 0;
  /// While exited() decides what comes next: whose worker that was, for the change it reports.
  std::pair<const User*, std::uint64_t> buried_{nullptr, 0};

  std::uint64_t next_generation_ = 0;
  std::uint64_t generations_end_ = 0;
  std::uint64_t spare_first_ = 0;  ///< the block after the current one
  std::uint64_t spare_end_ = 0;
  std::uint64_t highest_reserved_ = 0;
  bool reserving_ = false;
  std::int64_t reserve_again_at_ = 0;
  std::uint64_t next_number_ = 1;
  std::uint64_t next_ask_ = 1;
  std::int64_t spawn_paid_until_us_ = 0;  ///< token bucket: each spawn moves it on by its cost
  std::int64_t spawn_held_until_ = 0;     ///< after a fork failed for no fault of a user
  std::optional<std::int64_t> drain_deadline_;
  bool drain_killed_ = false;
};

}  // namespace cosigner::supervisor
