#pragma once
// The shell around the registry: turns its actions into forks, frames and signals, and what
// processes, sockets and the store report into its inputs. One Worker for each live process.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ipc/child_messages.h"
#include "ipc/gateway_messages.h"
#include "ipc/pair_messages.h"
#include "ipc/sandboxed.h"
#include "ipc/start_keys.h"
#include "ipc/store_messages.h"
#include "ipc/uv_stream.h"
#include "ipc/worker_messages.h"
#include "supervisor/log/audit.h"
#include "supervisor/metrics/node_metrics.h"
#include "supervisor/process/crash_pipe.h"
#include "supervisor/process/worker_cgroups.h"
#include "supervisor/registry/registry.h"
#include "supervisor/service/issuer.h"
#include "supervisor/service/per_second.h"
#include "supervisor/service/process_tree.h"
#include "supervisor/store/store_thread.h"

namespace cosigner::supervisor {

/// How the registry's limits follow from the configuration.
[[nodiscard]] RegistryLimits registry_limits(const WorkerLimits& workers);
/// What a status of waitid() means for a worker.
[[nodiscard]] ExitCause exit_cause(const ExitStatus& status);

/// What happened to this node's OT state of one key with one peer.
struct PairChange {
  std::string user;
  std::uint64_t generation = 0;
  std::string key;
  std::string peer;
  bool was_banned = false;
  bool banned = false;
  std::string reason;
};
struct PairCounters {
  std::uint64_t checks = 0;
  std::uint64_t strikes = 0;
  std::uint64_t bans = 0;
  std::uint64_t lifted = 0;
};

/// An operator wants stored keys of one user opened and checked by that user's worker.
struct Verification {
  std::deque<ipc::StoredKey> keys;  ///< never none
  /// What was found wrong with this one. False: nobody wants to hear of the others.
  std::function<bool(const ipc::StoredKey& key, ipc::KeyFault fault)> on_key;
  /// Once, after the last: nothing; or why the others were not checked.
  std::function<void(const std::optional<Error>& error)> on_end;
};

class WorkerPool {
 public:
  /// Where the pool's results go.
  struct Outlets {
    /// An answer envelope for the client behind `info`.
    std::function<void(const RequestInfo& info, ByteVector envelope)> answer;
    std::function<void(ipc::PublishWake wake)> wake;
    std::function<std::vector<std::string>()> present;  ///< nodes present now, this one included
    std::function<void(const action::Changed& change)> on_change;
    /// A worker left a crash record.
    std::function<void(const std::string& user, std::uint64_t generation,
                       const std::string& record)>
        on_crash;
    /// A request got its answer, whoever gave it.
    std::function<void(const Decision& decision)> decided;
    /// evict() came to its end: empty error, or why not.
    std::function<void(const std::string& user, std::optional<Error> error)> on_evicted;
    /// No worker is left while draining, and no fork is under way. Once.
    std::function<void()> on_empty;
    /// A pair's OT state was struck, banned, renewed or lifted.
    std::function<void(const PairChange& change)> on_pair;
  };

  WorkerPool(uv_loop_t* loop, const Config& config, const Issuer& issuer, StoreThread& store,
             ProcessTree& tree, NodeMetrics& metrics, Random& random, Outlets outlets);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void request(const std::string& user, RequestInfo info, ByteVector envelope);
  /// To every live worker. One with unread frames in its queue hears how things stand once it has
  /// read them: news that overtake one another are not worth a queue.
  void broadcast(const ipc::Presence& presence);
  /// The configuration was read again: limits, and what live workers follow from now on.
  void reconfigure(const ipc::Reconfigured& change);
  void tick();
  /// Asks up to `count` idle workers to go, the least recently used first.
  std::size_t relieve(std::size_t count);
  /// on_empty follows. Again, with an earlier deadline: it counts from now on.
  void drain(std::int64_t deadline_ms);
  /// A generation for the gateway; nothing while none is reserved (ask again).
  [[nodiscard]] std::optional<std::uint64_t> take_generation();

  Expected<void> evict(const std::string& user);
  Expected<void> restart(const std::string& user);
  void quarantine(const std::string& user);
  Expected<void> clear(const std::string& user);
  /// An operator's order that is in the store already: to the user's worker, which is started if
  /// there is none.
  Expected<void> renew_pair(const std::string& user, const ipc::PairStanding& pair);
  /// By the user's worker, which is started if there is none. Errors: overloaded (another is under
  /// way); whatever keeps the worker from being started.
  Expected<void> verify(const std::string& user, Verification order);
  /// Checks of peers' OT messages that are under way in this process right now.
  [[nodiscard]] std::size_t open_checks(std::uint64_t generation) const;
  [[nodiscard]] const PairCounters& pair_counters() const { return pair_counters_; }

  [[nodiscard]] const Registry& registry() const { return registry_; }
  /// 0 if no process of this generation is known.
  [[nodiscard]] pid_t pid_of(std::uint64_t generation) const;
  [[nodiscard]] std::uint32_t threads_of(std::uint64_t generation) const;
  /// From the order to fork it until it was ready; nothing if it is not yet.
  [[nodiscard]] std::optional<std::uint64_t> ready_after_us(std::uint64_t generation) const;
  /// What the worker of this generation last said, by key.
  using PresignatureStocks = std::map<std::string, ipc::PresignatureStock, std::less<>>;
  [[nodiscard]] const PresignatureStocks& presignatures_of(std::uint64_t generation) const;
  /// What the worker said about its walls; nothing if it has not yet.
  [[nodiscard]] std::optional<ipc::Sandboxed> sandboxed(std::uint64_t generation) const;
  /// From now on each worker gets a cgroup of its own.
  void use_cgroups(WorkerCgroups cgroups) { cgroups_ = std::move(cgroups); }
  [[nodiscard]] std::vector<pid_t> pids() const;
  /// Held by all live workers.
  [[nodiscard]] std::uint64_t presignatures() const;
  [[nodiscard]] std::uint64_t stray_frames() const { return stray_frames_; }
  [[nodiscard]] std::uint64_t ticks_dropped() const { return ticks_dropped_; }

 private:
  struct Worker;
  // worker_pool.cc: inputs, questions, the registry's turns
  void pump();
  void arm();
  /// Tells the registry of a time in which this process did not run: stopped, frozen, or busy with
  /// one thing.
  void notice_pause();
  void send_owed_presence(Worker& worker);
  Worker* find(std::uint64_t generation);
  template <class Message>
  void send(Worker& worker, const Message& message);

  // worker_actions.cc: what the registry wants done
  void perform(action::ReserveGenerations& wanted);
  void perform(action::Fork& fork);
  void perform(action::Deliver& deliver);
  void perform(action::Kill& kill);
  void perform(action::AskEvict& ask);
  void perform(action::Drain& drain);
  void perform(action::Fail& fail);
  void perform(action::Changed& change);
  void perform(action::EvictDeclined& declined);
  void forked(std::uint64_t generation, pid_t pid, const std::string& error);

  // worker_endings.cc: how a worker ends
  void exited(std::uint64_t generation, ExitStatus status);
  void socket_ended(std::uint64_t generation, ipc::CloseReason reason, std::string_view detail);
  void finish_if_over(Worker& worker);
  void finish(Worker& worker);
  void bury(std::uint64_t generation);
  /// A worker that speaks nonsense or does not read: ended.
  void distrust(Worker& worker, std::string_view why);

  // worker_frames.cc: what workers say
  void on_frame(Worker& worker, const ipc::Frame& frame);
  template <class Message, class Handle>
  void with(Worker& worker, const ipc::Frame& frame, Handle handle);
  void on_answer(Worker& worker, ipc::Answer answer);
  void on_wake(Worker& worker, ipc::Wake wake);
  void on_log(Worker& worker, const ipc::Log& line);
  void on_presignatures(Worker& worker, ipc::PresignatureStock stock);
  void on_presignature_used(Worker& worker, const ipc::PresignatureUsed& used);
  void on_metrics(Worker& worker, const ipc::WorkerMetrics& metrics);

  // worker_start.cc: how a worker is started
  void on_hello(Worker& worker, const ipc::WorkerHello& hello);
  void start_if_complete(Worker& worker);
  void on_keys_taken(Worker& worker, const ipc::StartKeysTaken& taken);
  void continue_start(Worker& worker);
  void on_renew(Worker& worker);

  // worker_pairs.cc: checks, burns, renewals
  /// What became of a check when its worker died, until the store has it.
  struct Unsettled {
    ipc::Checking check;
    std::optional<ipc::Burn> burn;  ///< the check had failed; else a strike
    bool in_flight = false;         ///< the store is at it
  };
  struct Loaded {
    std::vector<ipc::StoredKey> keys;
    std::vector<PairRecord> pairs;
    std::vector<std::string> altered;  ///< keys that cannot be used
  };
  void on_checking(Worker& worker, ipc::Checking check);
  void on_checked(Worker& worker, const ipc::Checked& check);
  void on_burn(Worker& worker, ipc::Burn order);
  void on_store_renewed(Worker& worker, ipc::StoreRenewed order);
  void on_lift_ban(Worker& worker, ipc::LiftBan order);
  [[nodiscard]] bool is_peer_of_key(const std::string& key, const std::string& peer) const;
  /// The worker is over: checks it left open become strikes.
  void settle_checks(Worker& worker);
  void settle(const std::string& user);
  void settled(const std::string& user, std::size_t count,
               const Expected<std::vector<PairRecord>>& struck);
  void changed(PairChange change);
  /// A user's keys, bans and renewals, once nothing of it is unsettled.
  void load(const std::string& user, std::uint64_t generation);

  // worker_verify.cc: checks of stored keys, one key at a time
  struct Verifying {
    Verification order;
    std::uint64_t number = 0;      ///< of the question that is out
    std::uint64_t generation = 0;  ///< whose worker it went to; 0: none yet
    std::int64_t until = 0;
  };
  void verify_next(Worker& worker);
  void on_key_verified(Worker& worker, const ipc::KeyVerified& said);
  /// A worker is over; `clean`: not by a fault.
  void verifier_over(const std::string& user, std::uint64_t generation, bool clean);
  void end_verification(const std::string& user, const std::optional<Error>& error);
  void expire_verifications();

  // worker_store.cc: workers' orders at the store
  void on_store_pending(Worker& worker, ipc::StorePending order);
  void on_store_activate(Worker& worker, ipc::StoreActivate order);
  void on_store_discard(Worker& worker, ipc::StoreDiscard order);
  void on_store_refusal(Worker& worker, const ipc::StoreRefusal& order);
  void on_store_result(Worker& worker, ipc::StoreResult result);
  void on_lookup(Worker& worker, const ipc::ResultLookup& lookup);
  /// A worker's order at the store. A worker with kMaxStoreOrders or kMaxStoreBytes there is not
  /// read from until some are done: the store's queue must not grow at the pace of a captured
  /// process.
  template <class Work, class Done>
  void submit_for(Worker& worker, StoreThread::Urgency urgency, std::size_t bytes, Work work,
                  Done done);
  void order_begins(Worker& worker, std::size_t bytes);
  void order_ends(std::uint64_t generation, std::size_t bytes);
  /// What a store order's end is worth to the metrics.
  void note_stored(StoreOperation operation, std::int64_t ordered_us);
  /// Stored, if the worker still lives.
  void confirm(std::uint64_t generation, std::uint64_t order, const Expected<void>& outcome,
               ByteVector statement);

  uv_loop_t* loop_;
  const Config& config_;
  const Issuer& issuer_;
  StoreThread& store_;
  ProcessTree& tree_;
  NodeMetrics& metrics_;
  Outlets outlets_;
  Registry registry_;
  std::vector<Action> actions_;  ///< pump() performs them
  std::unordered_map<std::uint64_t, std::unique_ptr<Worker>> workers_;
  std::unordered_map<std::string, std::vector<Unsettled>> unsettled_;  ///< by user
  PairCounters pair_counters_;
  std::unordered_map<std::string, Verifying> verifying_;  ///< by user
  std::uint64_t last_verification_ = 0;
  std::vector<std::unique_ptr<Worker>> graveyard_;  ///< freed in a later turn of the loop
  LoopTimer timer_;
  LoopTimer burial_;
  LoopTimer pulse_;
  std::int64_t pulse_at_;  ///< its last
  std::optional<std::int64_t> armed_for_;
  std::optional<WorkerCgroups> cgroups_;
  bool pumping_ = false;
  bool empty_told_ = false;
  std::uint64_t stray_frames_ = 0;
  std::uint64_t ticks_ = 0;
  std::uint64_t ticks_dropped_ = 0;
};

/// One live process of a user and its socket.
struct WorkerPool::Worker {
  Worker(std::string user, std::uint64_t generation) : holder{std::move(user), generation} {}

  Holder holder;
  std::unique_ptr<ipc::FrameChannel> channel;
  std::unique_ptr<ChildProcess> process;
  CrashPipe crash_pipe;
  pid_t pid = 0;
  bool forking = true;  ///< no result of the fork yet
  bool kill_when_forked = false;
  bool socket_over = false;
  std::optional<ExitStatus> exit;
  std::optional<LoopTimer> exit_grace;  ///< the process is gone, its socket not read to the end

  std::optional<ipc::WorkerHello> hello;
  std::optional<Loaded> loaded;   ///< from the store; its keys leave it with the first part
  std::vector<Unsettled> checks;  ///< begun and not ended
  std::deque<std::vector<ipc::StoredKey>>
      key_parts;  ///< not sent yet; the last goes with the start
  std::uint32_t keys_sent = 0;
  bool starting = false;  ///< the first part of its keys is on its way, or the start itself
  std::vector<ipc::RenewPair> renew_orders;  ///< that came before it was started
  bool started = false;
  std::int64_t renewed_at = 0;
  bool presence_owed = false;  ///< it has not heard of the last change
  std::uint32_t threads = 0;
  PresignatureStocks presignatures;
  std::optional<ipc::Sandboxed> sandboxed;      ///< what it said about its own walls
  std::int64_t ordered_us = 0;                  ///< its fork
  std::optional<std::uint64_t> ready_after_us;  ///< since then
  PerSecond log_lines;
  PerSecond presignature_lines;
  PerSecond wakes;
  // Its orders at the store: see submit_for().
  std::size_t store_orders = 0;
  std::size_t store_bytes = 0;
  bool held_back = false;
};

template <class Work, class Done>
void WorkerPool::submit_for(Worker& worker, StoreThread::Urgency urgency, std::size_t bytes,
                            Work work, Done done) {
  order_begins(worker, bytes);
  store_.submit(urgency, std::move(work),
                [this, generation = worker.holder.generation, bytes,
                 done = std::move(done)](auto outcome) mutable {
                  order_ends(generation, bytes);
                  done(std::move(outcome));
                });
}

template <class Message>
void WorkerPool::send(Worker& worker, const Message& message) {
  if (worker.channel && !worker.socket_over) {
    const ipc::SendStatus status = worker.channel->send(message);
    if (status == ipc::SendStatus::kFull || status == ipc::SendStatus::kTooLarge) {
      distrust(worker, "it does not read its socket");
    }
  }
}

}  // namespace cosigner::supervisor
