// What happens by itself. Each user has at most one place in the timer set; it moves there only
// when its deadline comes nearer, so that a warm request costs no reordering: a deadline that moved
// away is noticed when the old one fires.

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {

std::optional<std::int64_t> Registry::deadline_of(const User& user) const {
  switch (user.state) {
    case UserState::kAbsent:
      if (user.history && user.history->budget.has_deaths()) {
        return user.history->budget.forgotten_at(limits_.budget);
      }
      return user.last_active + kRememberDeathsMs;
    case UserState::kStarting:
      return (user.live() ? user.phase_began : user.wanted_at) + limits_.start_timeout_ms;
    case UserState::kReady:
    case UserState::kBusy: {
      std::int64_t at = kNever;
      if (user.ask != 0) {
        at = user.phase_began + limits_.unresponsive_ms;
      }
      if (!user.delivered.empty()) {
        at = std::min(at, user.last_sign + limits_.unresponsive_ms);
      }
      if (user.sessions > 0) {
        at = std::min(at, user.sessions_at + kSessionsFreshMs);
      }
      if (user.state == UserState::kReady && user.ask == 0) {
        at = std::min(at, user.last_active + limits_.idle_timeout_ms);
      }
      return at;
    }
    case UserState::kDraining:
      if (draining()) {
        return std::nullopt;  // the drain has its own deadline
      }
      if (user.kill != KillReason::kNone) {
        // SIGKILL does not fail, but there may be nobody to reap yet: a fork that hangs.
        return user.queued.empty() ? std::nullopt : std::optional(queue_ends(user));
      }
      return std::min(user.phase_began + limits_.unresponsive_ms, queue_ends(user));
    case UserState::kBackoff:
      return user.until;
    case UserState::kQuarantined:
      return user.until == kNever ? std::nullopt : std::optional(user.until);
  }
  return std::nullopt;
}

void Registry::schedule(User& user) {
  const auto at = deadline_of(user);
  if (!at || user.scheduled_at <= *at) {
    return;
  }
  user.scheduled_at = *at;
  timers_.set(user.slot, *at);
}

void Registry::unschedule(User& user) {
  user.scheduled_at = kNever;
  timers_.erase(user.slot);
}

std::optional<std::int64_t> Registry::next_deadline() const {
  std::int64_t at = kNever;
  if (!timers_.empty()) {
    at = timers_.first_at();
  }
  // Where a slot and a generation are there, the queue waits for the rate only.
  if (!spawn_queue_.empty() && starting_ < limits_.starting_at_once &&
      live_.size() < limits_.max_workers &&
      (next_generation_ != generations_end_ || spare_first_ != spare_end_)) {
    const std::int64_t paid = (spawn_paid_until_us_ - kSpawnBurstUs + 999) / 1000;
    at = std::min(at, std::max(spawn_held_until_, paid));
  }
  if (!reserving_ && spare_first_ == spare_end_) {
    at = std::min(at, reserve_again_at_);
  }
  if (drain_deadline_ && !drain_killed_) {
    at = std::min(at, *drain_deadline_);
  }
  return at == kNever ? std::nullopt : std::optional(at);
}

void Registry::paused(std::int64_t now, std::int64_t ms) {
  const auto forgive = [now, ms](std::int64_t& since) { since = std::min(now, since + ms); };
  for (User* user : users_->all()) {
    forgive(user->last_sign);
    forgive(user->sessions_at);
    forgive(user->phase_began);
    forgive(user->wanted_at);
    user->queued.any([&forgive](Waiting& waiting) {
      forgive(waiting.since);
      return false;
    });
  }
}

void Registry::on_timer(std::int64_t now) {
  if (drain_deadline_ && !drain_killed_ && now >= *drain_deadline_) {
    drain_killed_ = true;
    for (User* user : users_->all()) {
      kill(now, *user, KillReason::kShutdown);  // nothing where none lives
    }
  }
  order_generations(now);
  while (!timers_.empty() && timers_.first_at() <= now) {
    User& user = users_->at(timers_.pop());
    user.scheduled_at = kNever;
    const auto at = deadline_of(user);
    if (!at) {
      continue;
    }
    if (*at > now) {
      schedule(user);
    } else {
      expire(now, user);
    }
  }
  pump_spawns(now);
}

void Registry::expire(std::int64_t now, User& user) {
  switch (user.state) {
    case UserState::kAbsent:
      if (user.history) {
        user.history->budget.empty(limits_.budget, now);  // drops what left the window
      }
      schedule(user);
      forget_if_idle(now, user);
      return;
    case UserState::kStarting:
      if (user.live()) {
        kill(now, user, KillReason::kStartTimeout);
      } else {
        spawn_queue_.erase(user.slot);
        count_overload(Limit::kSpawnRate, user.queued.size());
        fail_queued(user,
                    retryable(ErrorCode::kOverloaded,
                              "This node could not start a process for this user in time.", 1000));
        rest(now, user, "no process could be started in time");
      }
      return;
    case UserState::kReady:
    case UserState::kBusy:
      if ((user.ask != 0 && now >= user.phase_began + limits_.unresponsive_ms) ||
          (!user.delivered.empty() && now >= user.last_sign + limits_.unresponsive_ms)) {
        kill(now, user, KillReason::kUnresponsive);
        return;
      }
      settle(now, user);
      if (user.state == UserState::kReady && user.ask == 0 &&
          now >= user.last_active + limits_.idle_timeout_ms) {
        ask_evict(now, user);
      }
      return;
    case UserState::kDraining:
      expire_queued(now, user);
      if (user.kill == KillReason::kNone && now >= user.phase_began + limits_.unresponsive_ms) {
        kill(now, user, KillReason::kLingered);
      }
      schedule(user);
      return;
    case UserState::kBackoff:
      if (user.queued.empty()) {
        rest(now, user, "backoff is over");
      } else {
        want_worker(now, user, "backoff is over; requests wait");
      }
      return;
    case UserState::kQuarantined:
      if (user.history) {
        user.history->budget.clear();
      }
      rest(now, user, "forgiven by time");
      return;
  }
}

}  // namespace cosigner::supervisor
