#include "supervisor/service/process_tree.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iterator>
#include <limits>

#include "ipc/worker_exit.h"

namespace cosigner::supervisor {
namespace {

/// A zygote has no user to blame: it is tried again for ever, at most every five seconds.
constexpr BudgetLimits kZygoteBudget{
    .max_restarts = 1000, .window_ms = 60'000, .backoff_first_ms = 50, .backoff_cap_ms = 5000};
constexpr const char* kStopping = "the node is shutting down";

// What a zygote may owe beside the result of an order (those count from 1).
constexpr std::uint64_t kNothing = 0;
constexpr std::uint64_t kItsStart = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kItsEnd = kItsStart - 1;
/// Looks in the time of an answer.
constexpr std::uint64_t kLooks = 5;

}  // namespace

ProcessTree::ProcessTree(uv_loop_t* loop, std::string program, Random& random,
                         std::function<void()> on_change, Patience patience)
    : loop_(loop),
      program_(std::move(program)),
      random_(random),
      on_change_(std::move(on_change)),
      patience_(patience),
      restart_timer_(loop,
                     [this] {
                       if (const auto launched = launch(); !launched) {
                         spdlog::error("zygote: {}", launched.error().message);
                         restart_timer_.start(5000);
                       }
                     }),
      renew_timer_(loop, [this] { renew(); }),
      failed_timer_(loop,
                    [this] {
                      for (auto& [callback, why] : std::exchange(failed_, {})) {
                        callback(0, why);
                      }
                      flush();
                    }),
      look_timer_(loop, [this] { look(); }) {}

ProcessTree::~ProcessTree() = default;

Expected<void> ProcessTree::start() {
  const ipc::UniqueFd opened(::open(program_.c_str(), O_PATH | O_CLOEXEC));
  // Above the descriptors that a zygote's socket takes before it is executed.
  program_file_.reset(::fcntl(opened.get(), F_DUPFD_CLOEXEC, 10));
  if (!program_file_) {
    return fail(ErrorCode::kInternal, "cannot open " + program_ + ": " + std::strerror(errno) +
                                          " (worker_program in the configuration names it)");
  }
  renew_timer_.start(kRenewEveryMs, kRenewEveryMs);
  return launch();
}

void ProcessTree::stop() {
  stopping_ = true;
  restart_timer_.stop();
  renew_timer_.stop();
  fail_waiting(kStopping);
  for (Zygote* zygote : {zygote_.get(), old_.get()}) {
    if (zygote == nullptr) {
      continue;
    }
    if (zygote->outstanding() > 0) {
      zygote->kill(SIGKILL);  // it had its time; its end fails what it left undone
    } else if (zygote != old_.get() || !old_retired_) {
      zygote->retire();
    }
  }
  watch();
}

const char* ProcessTree::state() const {
  return !zygote_ ? "backoff" : ready_ ? "ready" : "starting";
}

Expected<void> ProcessTree::launch() {
  ready_ = false;
  auto holder = std::make_shared<Zygote*>(nullptr);
  Zygote::Handlers handlers;
  handlers.on_ready = [this, holder] {
    if (*holder == zygote_.get()) {
      ready_ = true;
      flush();
      on_change_();
    }
  };
  handlers.on_forked = [this](std::uint64_t order, pid_t pid, const std::string& error) {
    OnForked callback = take_order(order);
    if (!callback) {
      return;
    }
    if (pid > 0) {
      callback(pid, {});
    } else {
      doubtful_.emplace_back(std::move(callback), error);
    }
    end_unknown();
    let_old_go();
  };
  handlers.on_unsent = [this](std::uint64_t order, const std::string& error) {
    if (OnForked callback = take_order(order)) {
      failed_.emplace_back(std::move(callback), error);
      failed_timer_.start(0);
    }
    end_unknown();
    let_old_go();
  };
  handlers.on_exit = [this, holder](ExitStatus status) { exited(*holder, status); };
  handlers.known_children = [this] { return known_children(); };
  auto launched = Zygote::launch(loop_, "/proc/self/fd/" + std::to_string(program_file_.get()),
                                 std::move(handlers), kept_.get());
  if (!launched) {
    return std::unexpected(launched.error());
  }
  zygote_ = std::move(*launched);
  *holder = zygote_.get();
  renewed_at_ = monotonic_ms();
  watch();
  return {};
}

std::vector<pid_t> ProcessTree::known_children() const {
  std::vector<pid_t> all(known_.begin(), known_.end());
  for (const Zygote* zygote : {zygote_.get(), old_.get()}) {
    if (zygote != nullptr) {
      all.push_back(zygote->pid());
    }
  }
  return all;
}

void ProcessTree::fork(ipc::Role role, const std::string& user, std::uint64_t generation,
                       Zygote::Ends ends, OnForked on_forked) {
  Order order;
  order.order.order = next_order_++;
  order.order.role = role;
  order.order.user = user;
  order.order.generation = generation;
  order.ends = std::move(ends);
  orders_.emplace(order.order.order, std::move(on_forked));
  waiting_.push_back(std::move(order));
  if (stopping_) {
    fail_waiting(kStopping);
  } else {
    flush();
  }
}

void ProcessTree::flush() {
  // One zygote at a time has orders outstanding: when it dies, whatever unknown child there is
  // must be its work.
  if (!zygote_ || !ready_ || !doubtful_.empty() || (old_ && old_->outstanding() > 0)) {
    return;
  }
  for (Order& order : std::exchange(waiting_, {})) {
    zygote_->fork(order.order, std::move(order.ends));
  }
  watch();
}

ProcessTree::OnForked ProcessTree::take_order(std::uint64_t order) {
  const auto found = orders_.find(order);
  return found == orders_.end() ? nullptr : std::move(orders_.extract(found).mapped());
}

void ProcessTree::end_unknown() {
  if (doubtful_.empty() || (zygote_ && zygote_->outstanding() > 0) ||
      (old_ && old_->outstanding() > 0)) {
    return;  // a child that is not known yet may be one whose result is on its way
  }
  if (const std::size_t ended = reap_unknown_children(known_children()); ended > 0) {
    spdlog::warn("zygote: {} processes killed that it had forked and could not tell of", ended);
  }
  std::ranges::move(std::exchange(doubtful_, {}), std::back_inserter(failed_));
  failed_timer_.start(0);  // and what waited goes out after them: this zygote may be dying
}

// ---- hangs

void ProcessTree::watch() {
  if (!std::exchange(looking_, true)) {
    owed_ = {};
    owed_old_ = {};
    const std::uint64_t every = std::max<std::uint64_t>(1, patience_.answer_ms / kLooks);
    look_timer_.start(every, every);
  }
}

bool ProcessTree::overdue(const Zygote& zygote, Owed& owed, std::uint64_t what,
                          std::uint64_t patience_ms) const {
  if (owed.pid != zygote.pid() || owed.what != what) {
    owed = {zygote.pid(), what, 0};
    return false;
  }
  return what != kNothing && ++owed.looks * patience_.answer_ms >= patience_ms * kLooks;
}

void ProcessTree::look() {
  bool needed = false;
  if (zygote_) {
    const std::uint64_t what = !ready_                      ? kItsStart
                               : zygote_->outstanding() > 0 ? zygote_->oldest()
                               : stopping_                  ? kItsEnd
                                                            : kNothing;
    needed = what != kNothing;
    if (overdue(*zygote_, owed_, what, ready_ ? patience_.answer_ms : patience_.start_ms)) {
      spdlog::error("zygote: killed: it {}", ready_ ? "answers no orders" : "does not come up");
      zygote_->kill(SIGKILL);  // exited() fails its orders and starts another
    }
  }
  if (old_) {
    needed = true;
    const std::uint64_t what = old_->outstanding() > 0 ? old_->oldest() : kItsEnd;
    if (overdue(*old_, owed_old_, what, patience_.answer_ms)) {
      spdlog::error("zygote: the old one killed: it does not end");
      old_->kill(SIGKILL);
    }
  }
  if (!needed) {
    looking_ = false;
    look_timer_.stop();
  }
}

void ProcessTree::note_bad_death() {
  if (stopping_ || old_ || !ready()) {
    return;  // a renewal is under way
  }
  const std::int64_t next = renewed_at_ + kRenewAtMostEveryMs;
  const std::int64_t now = monotonic_ms();
  if (now >= next) {
    renew();
  } else {
    renew_timer_.start(static_cast<std::uint64_t>(next - now), kRenewEveryMs);
  }
}

void ProcessTree::renew() {
  if (stopping_ || old_ || !ready()) {
    return;
  }
  old_ = std::move(zygote_);
  old_retired_ = false;
  if (const auto launched = launch(); !launched) {
    spdlog::error("zygote: {}", launched.error().message);
    zygote_ = std::move(old_);
    ready_ = true;
    return;
  }
  ++renewals_;
  watch();
  renew_timer_.start(kRenewEveryMs, kRenewEveryMs);
  let_old_go();
}

void ProcessTree::let_old_go() {
  if (old_ && !old_retired_ && old_->outstanding() == 0) {
    old_retired_ = true;
    old_->retire();
    flush();
  }
}

void ProcessTree::fail_waiting(const std::string& why) {
  for (Order& order : std::exchange(waiting_, {})) {
    const auto found = orders_.find(order.order.order);
    if (found != orders_.end()) {
      failed_.emplace_back(std::move(found->second), why);
      orders_.erase(found);
    }
  }
  if (!failed_.empty()) {
    failed_timer_.start(0);
  }
}

void ProcessTree::exited(Zygote* which, ExitStatus status) {
  if (which == old_.get()) {
    if (!status.clean()) {
      spdlog::warn("zygote: the old one ended with {}", status.describe());
    }
    old_.reset();
    flush();
    return;
  }
  zygote_.reset();
  ready_ = false;
  if (stopping_) {
    return;
  }
  ++restarts_;
  const std::int64_t delay = budget_.note_death(kZygoteBudget, monotonic_ms(), random_);
  if (!status.signalled && status.code == ipc::kExitSelfTest) {
    spdlog::error(
        "zygote: the self-test of its cryptography failed, so this node serves nobody; the line "
        "before this one says what computes wrongly (a library of another version, or the "
        "machine)");
  }
  spdlog::warn("zygote: ended with {}; starting another in {} ms", status.describe(), delay);
  restart_timer_.start(static_cast<std::uint64_t>(delay));
  on_change_();
}

}  // namespace cosigner::supervisor
