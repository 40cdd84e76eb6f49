// What operators order, and shutting down.

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {
namespace {

std::unexpected<Error> no_worker(const std::string& user) {
  return cosigner::fail(ErrorCode::kUnknownUser, "No process of user '" + user + "' runs here.");
}

}  // namespace

Expected<void> Registry::start(std::int64_t now, const std::string& name) {
  if (draining()) {
    return cosigner::fail(ErrorCode::kShuttingDown, "This node is shutting down.");
  }
  User* known = find(name);
  if (known != nullptr && known->state == UserState::kQuarantined) {
    return cosigner::fail(ErrorCode::kQuarantined,
                          "User '" + name + "' is quarantined on this node: clear it first.");
  }
  User& user = known != nullptr ? *known : add(name);
  user.last_active = now;
  if (user.state == UserState::kAbsent) {
    want_worker(now, user, "an operator's order");
  }
  return {};
}

Expected<void> Registry::evict(std::int64_t now, const std::string& name) {
  User* user = find(name);
  if (user == nullptr || !user->live()) {
    return no_worker(name);
  }
  if (user->state == UserState::kDraining || user->ask != 0) {
    return {};  // on its way already
  }
  if (user->state != UserState::kReady) {
    return cosigner::fail(ErrorCode::kConflict, "The process of user '" + name + "' is " +
                                                    std::string(user_state_name(user->state)) +
                                                    "; try again later.");
  }
  ask_evict(now, *user);
  return {};
}

Expected<void> Registry::restart(std::int64_t now, const std::string& name) {
  User* user = find(name);
  if (user == nullptr || !user->live()) {
    return no_worker(name);
  }
  kill(now, *user, KillReason::kRestart);
  return {};
}

void Registry::quarantine(std::int64_t now, const std::string& name) {
  User* known = find(name);
  User& user = known != nullptr ? *known : add(name);
  if (user.live()) {
    if (user.kill == KillReason::kNone) {
      kill(now, user, KillReason::kQuarantine);
    } else {
      user.kill = KillReason::kQuarantine;  // it is dying already; this decides what comes then
    }
    return;
  }
  spawn_queue_.erase(user.slot);
  user.until = kNever;
  fail_queued(user, quarantined(now, user.until));
  ++counters_.quarantines;
  set_state(user, UserState::kQuarantined, "by order");
}

void Registry::set_limits(std::int64_t now, const RegistryLimits& limits) {
  limits_ = limits;
  highest_.max_workers = std::max(highest_.max_workers, limits.max_workers);
  highest_.mailbox_entries = std::max(highest_.mailbox_entries, limits.mailbox_entries);
  highest_.mailbox_bytes = std::max(highest_.mailbox_bytes, limits.mailbox_bytes);
  highest_.total_mailbox_bytes = std::max(highest_.total_mailbox_bytes, limits.total_mailbox_bytes);
  for (User* user : users_->all()) {
    schedule(*user);  // a shorter time may have passed already
  }
  pump_spawns(now);
}

Expected<void> Registry::clear(std::int64_t now, const std::string& name) {
  User* user = find(name);
  if (user == nullptr) {
    return cosigner::fail(ErrorCode::kUnknownUser,
                          "Nothing is held against user '" + name + "' here.");
  }
  if (user->history) {
    std::string last_request = std::move(user->history->last_request);
    *user->history = {};
    user->history->last_request = std::move(last_request);
  }
  if (user->kill == KillReason::kQuarantine) {
    user->kill = KillReason::kRestart;
  }
  if (user->state == UserState::kBackoff || user->state == UserState::kQuarantined) {
    if (user->queued.empty()) {
      rest(now, *user, "cleared by order");
    } else {
      want_worker(now, *user, "cleared by order; requests wait");
    }
  } else {
    forget_if_idle(now, *user);
  }
  return {};
}

void Registry::drain(std::int64_t now, std::int64_t deadline_ms) {
  if (draining()) {
    drain_deadline_ = std::min(*drain_deadline_, now + deadline_ms);
    return;
  }
  drain_deadline_ = now + deadline_ms;
  const Error error =
      retryable(ErrorCode::kShuttingDown, "This node is shutting down; ask again when it is back.");
  for (User* user : users_->all()) {
    fail_queued(*user, error);
    switch (user->state) {
      case UserState::kStarting:
        if (user->live()) {
          kill(now, *user, KillReason::kShutdown);
        } else {
          spawn_queue_.erase(user->slot);
          rest(now, *user, "shutting down");
        }
        break;
      case UserState::kReady:
      case UserState::kBusy:
        end_ask(*user);
        idle_.erase(user->slot);
        user->leaving = true;
        user->phase_began = now;
        actions_.emplace_back(action::Drain{user->generation, deadline_ms});
        set_state(*user, UserState::kDraining, "shutting down");
        break;
      case UserState::kBackoff:
        rest(now, *user, "shutting down");
        break;
      case UserState::kAbsent:
      case UserState::kDraining:
      case UserState::kQuarantined:
        break;
    }
  }
}

}  // namespace cosigner::supervisor
