// How a worker ends, by order or by itself: what its callers hear, and what is next for its user.

#include <csignal>

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {
namespace {

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
