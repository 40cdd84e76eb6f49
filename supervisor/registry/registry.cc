// Bookkeeping: users, states, lists.

#include "supervisor/registry/registry.h"

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {

Registry::Registry(RegistryLimits limits, Random& random)
    : limits_(limits), highest_(limits), random_(random) {
  order_generations(0);
}

Registry::~Registry() = default;

Registry::User* Registry::find(const std::string& user) const {
  const auto found = users_.find(user);
  return found == users_.end() ? nullptr : found->second.get();
}

Registry::User& Registry::find_or_make(const std::string& user) {
  auto& slot = users_[user];
  if (!slot) {
    slot = std::make_unique<User>(user);
    ++counts_[static_cast<std::size_t>(UserState::kAbsent)];
  }
  return *slot;
}

Registry::User* Registry::find_live(std::uint64_t generation) {
  const auto found = live_.find(generation);
  return found == live_.end() ? nullptr : found->second;
}

std::string_view Registry::user_of(std::uint64_t generation) const {
  const auto found = live_.find(generation);
  return found == live_.end() ? std::string_view{} : std::string_view(found->second->name);
}

void Registry::set_state(User& user, UserState to, std::string_view reason) {
  if (user.state == to) {
    return;
  }
  --counts_[static_cast<std::size_t>(user.state)];
  ++counts_[static_cast<std::size_t>(to)];
  const UserState from = std::exchange(user.state, to);
  const std::uint64_t generation = buried_.first == &user ? buried_.second : user.generation;
  actions_.emplace_back(action::Changed{user.name, from, to, generation, std::string(reason)});
}

void Registry::rest(std::int64_t now, User& user, std::string_view reason) {
  set_state(user, UserState::kAbsent, reason);
  schedule(user);
  forget_if_idle(now, user);
}

void Registry::forget_if_idle(std::int64_t now, User& user) {
  if (user.state != UserState::kAbsent || !user.queued.empty() ||
      !user.budget.empty(limits_.budget, now) ||
      (user.deaths > 0 && now < user.last_active + kRememberDeathsMs)) {
    return;
  }
  if (user.scheduled_at) {
    timers_.erase({*user.scheduled_at, &user});
  }
  --counts_[static_cast<std::size_t>(UserState::kAbsent)];
  users_.erase(std::string(user.name));
}

void Registry::leave_spawn_queue(User& user) {
  if (user.spawn_place) {
    spawn_queue_.erase(*user.spawn_place);
    user.spawn_place.reset();
  }
}

void Registry::leave_idle(User& user) {
  if (user.idle_place) {
    idle_.erase(*user.idle_place);
    user.idle_place.reset();
  }
}

void Registry::end_ask(User& user) {
  if (user.ask != 0) {
    user.ask = 0;
    --evicting_;
  }
}

void Registry::end_starting(User& user) {
  if (user.counts_starting) {
    user.counts_starting = false;
    --starting_;
  }
}

namespace {
/// The part of a view that does not depend on the private struct.
std::int64_t left(std::int64_t until, std::int64_t now) {
  return until == kNever ? -1 : std::max<std::int64_t>(0, until - now);
}
}  // namespace

std::optional<UserView> Registry::user(std::int64_t now, const std::string& name) const {
  const User* user = find(name);
  if (user == nullptr) {
    return std::nullopt;
  }
  const bool waits = user->state == UserState::kBackoff || user->state == UserState::kQuarantined;
  return UserView{.user = user->name,
                  .state = user->state,
                  .generation = user->generation,
                  .last_active_ms = user->last_active,
                  .sessions = user->sessions,
                  .in_flight = user->delivered.size(),
                  .queued = user->queued.size(),
                  .starts = user->starts,
                  .deaths = user->deaths,
                  .start_failures = user->start_failures,
                  .last_death = user->last_death,
                  .last_crash = user->last_crash,
                  .last_request = user->last_request,
                  .retry_in_ms = waits ? left(user->until, now) : 0};
}

std::vector<UserView> Registry::users(std::int64_t now) const {
  std::vector<UserView> out;
  out.reserve(users_.size());
  for (const auto& [name, unused] : users_) {
    out.push_back(*user(now, name));
  }
  std::ranges::sort(out, {}, &UserView::user);
  return out;
}

}  // namespace cosigner::supervisor
