#pragma once
// Who forks: keeps one zygote ready, renews it every ten minutes and after deaths that may have
// been attempts at its memory layout (all its forks share address layout and stack canary), starts
// it again by a budget of its own when it dies. Knows every child of this process.

#include <set>
#include <unordered_map>

#include "ipc/unique_fd.h"
#include "supervisor/process/zygote.h"
#include "supervisor/registry/budget.h"
#include "supervisor/service/clock.h"

namespace cosigner::supervisor {

class ProcessTree {
 public:
  static constexpr std::int64_t kRenewEveryMs = 600'000;
  /// Renewals after bad deaths come at most this often: a crash loop must not become an exec loop.
  static constexpr std::int64_t kRenewAtMostEveryMs = 1000;

  /// A zygote that takes longer hangs, and is killed: a fork takes it a millisecond, a start ten.
  struct Patience {
    std::uint64_t answer_ms = 5000;  ///< for the oldest order, or for its end once retired
    std::uint64_t start_ms = 10'000;
  };
  ProcessTree(uv_loop_t* loop, std::string program, Random& random, std::function<void()> on_change,
              Patience patience);
  ProcessTree(uv_loop_t* loop, std::string program, Random& random, std::function<void()> on_change)
      : ProcessTree(loop, std::move(program), random, std::move(on_change), Patience()) {}
  ~ProcessTree();

  /// From now on zygotes and their forks keep this file open until they end (lock_children()).
  void keep(ipc::UniqueFd file) { kept_ = std::move(file); }
  /// Launches the first zygote. Errors: the program cannot be started.
  [[nodiscard]] Expected<void> start();
  /// Takes no more orders and lets the zygote go; one that has orders left is killed, which fails
  /// them.
  void stop();

  using OnForked = std::function<void(pid_t pid, const std::string& error)>;
  /// `pid` 0: it failed. The callback comes later, never from within this call.
  void fork(ipc::Role role, const std::string& user, std::uint64_t generation, Zygote::Ends ends,
            OnForked on_forked);
  /// Children that others watch, for as long as they do.
  void know(pid_t pid) { known_.insert(pid); }
  void forget(pid_t pid) { known_.erase(pid); }
  /// A fork of the zygote ended in a way that asks for new randomness: SIGSEGV, SIGBUS, SIGILL,
  /// SIGABRT, SIGSYS.
  void note_bad_death();

  [[nodiscard]] bool ready() const { return zygote_ != nullptr && ready_; }
  [[nodiscard]] pid_t pid() const { return zygote_ ? zygote_->pid() : 0; }
  [[nodiscard]] std::uint64_t restarts() const { return restarts_; }
  [[nodiscard]] std::uint64_t renewals() const { return renewals_; }
  [[nodiscard]] const char* state() const;

 private:
  struct Order {
    ipc::ForkOrder order;
    Zygote::Ends ends;
  };
  /// What a zygote owes at a look; that it owes the same at every look of a time is a hang. Looks
  /// are counted, not milliseconds: while this process does not run there are none.
  struct Owed {
    pid_t pid = 0;
    std::uint64_t what = 0;  ///< an order, or one of the constants in process_tree.cc
    std::uint64_t looks = 0;
  };
  [[nodiscard]] std::vector<pid_t> known_children() const;
  [[nodiscard]] Expected<void> launch();
  void watch();
  void look();
  [[nodiscard]] bool overdue(const Zygote& zygote, Owed& owed, std::uint64_t what,
                             std::uint64_t patience_ms) const;
  void renew();
  void let_old_go();
  void flush();
  void fail_waiting(const std::string& why);
  /// After a fork that failed, once no other is under way: a process that was made all the same is
  /// ended before anybody hears of the failure, for its user's next one may follow at once. (The
  /// process between zygote and child was killed after its fork, before it could say so.)
  void end_unknown();
  /// Null: no such order is open.
  [[nodiscard]] OnForked take_order(std::uint64_t order);
  void exited(Zygote* which, ExitStatus status);

  uv_loop_t* loop_;
  std::string program_;
  /// The worker program as it was when this process started. An upgrade replaces the file before it
  /// restarts us: a zygote renewed in between is still of the version that we speak with.
  ipc::UniqueFd program_file_;
  ipc::UniqueFd kept_;
  Random& random_;
  std::function<void()> on_change_;
  Patience patience_;
  std::unique_ptr<Zygote> zygote_;
  std::unique_ptr<Zygote> old_;  ///< finishing its orders, or ending
  bool old_retired_ = false;
  bool ready_ = false;
  bool stopping_ = false;
  std::vector<Order> waiting_;  ///< for the zygote, or for the old one to be done
  std::unordered_map<std::uint64_t, OnForked> orders_;
  std::uint64_t next_order_ = 1;
  std::set<pid_t> known_;
  RestartBudget budget_;
  std::int64_t renewed_at_ = 0;
  std::uint64_t restarts_ = 0;
  std::uint64_t renewals_ = 0;
  LoopTimer restart_timer_;
  LoopTimer renew_timer_;
  LoopTimer failed_timer_;
  LoopTimer look_timer_;
  bool looking_ = false;
  Owed owed_;      ///< by zygote_
  Owed owed_old_;  ///< by old_
  std::vector<std::pair<OnForked, std::string>> failed_;
  /// A child that nobody knows of may have come of these; no orders go out until that is settled.
  std::vector<std::pair<OnForked, std::string>> doubtful_;
};

}  // namespace cosigner::supervisor
