// A worker's life: wanted, forked, ready, asked to go, dead.

#include <csignal>

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {
namespace {

constexpr std::uint32_t kFullRetryMs = 1000;
/// A disk that was full or slow a moment ago is not asked by every request at once.
constexpr std::int64_t kStorageRetryMs = 1000;

DeathCause death_cause(KillReason reason, const ExitCause& cause) {
  if (reason == KillReason::kUnresponsive) {
    return DeathCause::kUnresponsive;
  }
  if (reason == KillReason::kStartTimeout) {
    return DeathCause::kStartTimeout;
  }
  if (cause.kind == ExitKind::kOutOfMemory) {
    return DeathCause::kOutOfMemory;
  }
  if (cause.kind == ExitKind::kSignal) {
    return cause.value == SIGKILL ? DeathCause::kKilled : DeathCause::kSignal;
  }
  return DeathCause::kExit;
}

}  // namespace

// ---- wanting and forking

void Registry::want_worker(std::int64_t now, User& user, std::string_view reason) {
  user.wanted_at = now;
  set_state(user, UserState::kStarting, reason);
  spawn_queue_.push_back(user.slot);
  schedule(user);
  pump_spawns(now);
}

bool Registry::may_spawn_now(std::int64_t now) const {
  return now >= spawn_held_until_ && spawn_paid_until_us_ <= now * 1000 + kSpawnBurstUs;
}

void Registry::pump_spawns(std::int64_t now) {
  while (!spawn_queue_.empty() && starting_ < limits_.starting_at_once && may_spawn_now(now)) {
    if (live_.size() >= limits_.max_workers) {
      make_room(now);
      return;
    }
    const auto reserved = take_generation(now);
    if (!reserved) {
      return;
    }
    const std::uint64_t generation = *reserved;
    User& user = users_->at(spawn_queue_.front());
    spawn_queue_.erase(user.slot);
    user.generation = generation;
    user.ready = false;
    user.greeted = false;
    user.leaving = false;
    user.kill = KillReason::kNone;
    user.sessions = 0;
    user.phase_began = now;
    user.last_sign = now;
    ++user.starts;
    ++counters_.spawns;
    live_.insert(hash_of_number(generation), user.slot);
    user.counts_starting = true;
    ++starting_;
    spawn_paid_until_us_ =
        std::max(spawn_paid_until_us_, now * 1000) + 1'000'000 / limits_.spawns_per_second;
    actions_.emplace_back(action::Fork{user.name, generation});
    schedule(user);
  }
}

void Registry::make_room(std::int64_t now) {
  // Each worker that is on its way out makes room for one that waits; ask idle ones for the rest.
  const auto going = [this] { return evicting_ + in_state(UserState::kDraining); };
  while (going() < spawn_queue_.size() && !idle_.empty()) {
    ask_evict(now, users_->at(idle_.front()));
  }
  while (spawn_queue_.size() > going()) {
    User& user = users_->at(spawn_queue_.back());  // the oldest wait on
    spawn_queue_.erase(user.slot);
    count_overload(Limit::kWorkers, user.queued.size());
    fail_queued(user, retryable(ErrorCode::kOverloaded,
                                "This node runs as many users as it may, and none of them is idle.",
                                kFullRetryMs));
    rest(now, user, "no room for another worker");
  }
}

std::optional<std::uint64_t> Registry::take_generation(std::int64_t now) {
  if (next_generation_ == generations_end_) {
    next_generation_ = std::exchange(spare_first_, 0);
    generations_end_ = std::exchange(spare_end_, 0);
  }
  std::optional<std::uint64_t> out;
  if (next_generation_ != generations_end_) {
    out = next_generation_++;
  }
  order_generations(now);
  return out;
}

void Registry::order_generations(std::int64_t now) {
  if (!reserving_ && spare_first_ == spare_end_ && now >= reserve_again_at_) {
    reserving_ = true;
    actions_.emplace_back(action::ReserveGenerations{});
  }
}

void Registry::generations_reserved(std::int64_t now, std::uint64_t first, std::uint64_t count) {
  reserving_ = false;
  if (count == 0 || first == 0 || first <= highest_reserved_) {
    reserve_again_at_ = now + 1000;  // the store is in trouble: spawns wait
    return;
  }
  highest_reserved_ = first + count - 1;
  spare_first_ = first;
  spare_end_ = first + count;
  pump_spawns(now);
}

void Registry::fork_failed(std::int64_t now, std::uint64_t generation, std::string_view why) {
  User* user = find_live(generation);
  if (user == nullptr) {
    ++counters_.stray_inputs;
    return;
  }
  live_.erase(hash_of_number(generation), user->slot);
  end_starting(*user);
  user->generation = 0;
  spawn_held_until_ = now + 20;  // do not spin while the zygote is away
  if (user->kill != KillReason::kNone) {
    buried_ = {user, generation};
    after_death(now, *user, false, std::string(why));  // may forget the user
    buried_ = {nullptr, 0};
    return;
  }
  spawn_queue_.push_front(user->slot);
  schedule(*user);
}

void Registry::greeted(std::uint64_t generation) {
  if (User* user = find_live(generation)) {
    user->greeted = true;
  }
}

void Registry::ready(std::int64_t now, std::uint64_t generation) {
  User* user = find_live(generation);
  if (user == nullptr || user->state != UserState::kStarting) {
    ++counters_.stray_inputs;
    return;
  }
  end_starting(*user);
  user->ready = true;
  user->last_active = now;
  user->last_sign = now;
  set_state(*user, UserState::kReady, "subscribed");
  deliver_queued(now, *user);
  pump_spawns(now);
}

// ---- signs of life

void Registry::alive(std::int64_t now, std::uint64_t generation) {
  if (User* user = find_live(generation)) {
    user->last_sign = now;
  }
}

void Registry::heartbeat(std::int64_t now, std::uint64_t generation, std::uint32_t sessions) {
  User* user = find_live(generation);
  if (user == nullptr) {
    return;
  }
  user->last_sign = now;
  user->sessions = sessions;
  user->sessions_at = now;
  if (sessions > 0) {
    user->last_active = now;
  }
  if (user->serves()) {
    settle(now, *user);
  }
}

void Registry::settle(std::int64_t now, User& user) {
  if (!user.serves()) {
    return;
  }
  if (user.sessions > 0 && now >= user.sessions_at + kSessionsFreshMs) {
    user.sessions = 0;
  }
  const bool busy = !user.delivered.empty() || user.sessions > 0;
  set_state(user, busy ? UserState::kBusy : UserState::kReady, busy ? "work" : "done");
  if (busy || user.ask != 0) {
    idle_.erase(user.slot);
  } else if (!idle_.contains(user.slot)) {
    idle_.push_back(user.slot);
    if (!spawn_queue_.empty() && live_.size() >= limits_.max_workers) {
      make_room(now);
    }
  }
  schedule(user);
}

// ---- eviction

void Registry::ask_evict(std::int64_t now, User& user) {
  idle_.erase(user.slot);
  user.ask = next_ask_++;
  user.phase_began = now;
  ++evicting_;
  actions_.emplace_back(action::AskEvict{user.generation, user.ask});
  schedule(user);
}

void Registry::evict_reply(std::int64_t now, std::uint64_t generation, std::uint64_t ask,
                           bool agree) {
  User* user = find_live(generation);
  if (user == nullptr || user->ask == 0 || user->ask != ask) {
    ++counters_.stray_inputs;
    return;
  }
  end_ask(*user);
  user->last_sign = now;
  if (agree) {
    user->leaving = true;
    user->phase_began = now;
    ++counters_.evictions;
    set_state(*user, UserState::kDraining, "evicted");
    schedule(*user);
    return;
  }
  ++counters_.evictions_declined;
  user->last_active = now;  // so that it is not asked again at once
  actions_.emplace_back(action::EvictDeclined{user->name});
  deliver_queued(now, *user);
  pump_spawns(now);
}

// ---- endings

void Registry::socket_closed(std::int64_t now, std::uint64_t generation) {
  User* user = find_live(generation);
  if (user != nullptr && !user->leaving) {
    kill(now, *user, KillReason::kSocketClosed);
  }
}

void Registry::load_failed(std::int64_t now, std::uint64_t generation, const Error& error) {
  User* user = find_live(generation);
  if (user == nullptr || user->kill != KillReason::kNone) {
    ++counters_.stray_inputs;
    return;
  }
  fail_everything(*user, error);
  kill(now, *user, KillReason::kStorage);
}

void Registry::kill(std::int64_t now, User& user, KillReason reason) {
  if (user.kill != KillReason::kNone || !user.live()) {
    return;
  }
  user.kill = reason;
  user.phase_began = now;
  end_ask(user);
  idle_.erase(user.slot);
  end_starting(user);
  user.sessions = 0;
  actions_.emplace_back(action::Kill{user.generation, reason});
  switch (reason) {
    case KillReason::kUnresponsive:
      ++counters_.unresponsive;
      fail_everything(user, retryable(ErrorCode::kWorkerUnresponsive,
                                      "This user's process showed no life and was killed; the next "
                                      "request gets a new one."));
      break;
    case KillReason::kStartTimeout:
      fail_everything(user, retryable(ErrorCode::kWorkerUnresponsive,
                                      "This user's process did not become ready in time."));
      break;
    case KillReason::kRestart:
      // What was not delivered is served by the next one.
      fail_delivered(
          user, retryable(ErrorCode::kCancelled, "An operator restarted this user's process."));
      break;
    case KillReason::kQuarantine:
      fail_everything(user, quarantined(now, kNever));
      break;
    case KillReason::kShutdown:
      fail_everything(user, retryable(ErrorCode::kShuttingDown,
                                      "This node shut down before the operation was done."));
      break;
    case KillReason::kSocketClosed:  // answered with the cause once it is known
    case KillReason::kStorage:       // answered already
    case KillReason::kLingered:
    case KillReason::kNone:
      break;
  }
  set_state(user, UserState::kDraining, kill_reason_text(reason));
  schedule(user);
  if (!spawn_queue_.empty()) {
    pump_spawns(now);
  }
}

Error Registry::death_error(const User& user, const ExitCause& cause) const {
  const bool memory = cause.kind == ExitKind::kOutOfMemory;
  return retryable(memory ? ErrorCode::kOutOfMemory : ErrorCode::kWorkerCrashed,
                   std::string("This user's process ") + (user.ready ? "" : "did not start: it ") +
                       cause.text() + ".");
}

void Registry::exited(std::int64_t now, std::uint64_t generation, const ExitCause& cause) {
  User* found = find_live(generation);
  if (found == nullptr) {
    ++counters_.stray_inputs;
    return;
  }
  User& user = *found;
  end_ask(user);
  idle_.erase(user.slot);
  end_starting(user);
  const bool clean = user.leaving && user.kill == KillReason::kNone &&
                     cause.kind == ExitKind::kExited && cause.value == 0;
  const bool ours = user.kill == KillReason::kRestart || user.kill == KillReason::kQuarantine ||
                    user.kill == KillReason::kShutdown || user.kill == KillReason::kLingered ||
                    user.kill == KillReason::kStorage ||
                    (user.kill == KillReason::kStartTimeout && !user.greeted);
  // One that went as it was told may have crossed with a repeat of its last request.
  const Error error = clean ? retryable(ErrorCode::kShuttingDown,
                                        "This node shut down before the operation was done.")
                            : death_error(user, cause);
  fail_delivered(user, error, cause.request);
  if (!user.leaving && !ours && user.kill != KillReason::kUnresponsive &&
      user.kill != KillReason::kStartTimeout) {
    fail_queued(user, error);
  }
  std::string reason = user.kill == KillReason::kUnresponsive   ? "unresponsive, killed"
                       : user.kill == KillReason::kStartTimeout ? "not ready in time, killed"
                       : user.kill == KillReason::kLingered     ? "did not go, killed"
                       : user.kill == KillReason::kStorage      ? "its keys could not be read"
                       : ours                                   ? "ended by order"
                                                                : cause.text();
  if (!clean && !ours) {
    History& history = user.remember();
    ++history.deaths;
    ++counters_.deaths;
    ++counters_.deaths_by_cause[static_cast<std::size_t>(death_cause(user.kill, cause))];
    if (!user.ready) {
      ++history.start_failures;
      ++counters_.start_failures;
    }
    history.last_death = reason;
    if (!cause.crash.empty()) {
      history.last_crash = cause.crash;
    }
  }
  live_.erase(hash_of_number(generation), user.slot);
  user.generation = 0;
  user.sessions = 0;
  buried_ = {&user, generation};
  after_death(now, user, !clean && !ours, clean ? "gone" : reason);  // may forget the user
  buried_ = {nullptr, 0};
  pump_spawns(now);
}

void Registry::after_death(std::int64_t now, User& user, bool counts, const std::string& reason) {
  const bool by_operator = user.kill == KillReason::kQuarantine;
  const std::int64_t delay = counts
                                 ? user.remember().budget.note_death(limits_.budget, now, random_)
                             : user.kill == KillReason::kStorage ? kStorageRetryMs
                                                                 : 0;
  user.kill = KillReason::kNone;
  user.leaving = false;
  if (draining()) {
    fail_queued(user, retryable(ErrorCode::kShuttingDown, "This node is shutting down."));
    rest(now, user, reason);
    return;
  }
  if (by_operator || (counts && user.remember().budget.exhausted(limits_.budget, now))) {
    ++counters_.quarantines;
    user.until = by_operator ? kNever : now + limits_.quarantine_ms;
    fail_queued(user, quarantined(now, user.until));
    set_state(user, UserState::kQuarantined, reason);
    schedule(user);
  } else if (delay > 0) {
    user.until = now + delay;
    set_state(user, UserState::kBackoff, reason);
    schedule(user);
  } else if (user.queued.empty()) {
    rest(now, user, reason);
  } else {
    want_worker(now, user, reason + "; requests wait");
  }
}

}  // namespace cosigner::supervisor
