// Bookkeeping: users, states, lists.

#include "supervisor/registry/registry.h"

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {

Registry::Registry(RegistryLimits limits, Random& random)
    : limits_(limits),
      highest_(limits),
      random_(random),
      users_(std::make_unique<Users>()),
      requests_(std::make_unique<Requests>()) {
  order_generations(0);
}

Registry::~Registry() = default;

Registry::User* Registry::find(std::string_view user) const {
  return users_->find(user);
}

Registry::User& Registry::add(const std::string& user) {
  ++counts_[static_cast<std::size_t>(UserState::kAbsent)];
  return users_->add(user);
}

Registry::User* Registry::find_live(std::uint64_t generation) const {
  const auto slot =
      live_.find(hash_of_number(generation), [this, generation](std::uint32_t candidate) {
        return users_->at(candidate).generation == generation;
      });
  return slot ? &users_->at(*slot) : nullptr;
}

std::string_view Registry::user_of(std::uint64_t generation) const {
  const User* user = find_live(generation);
  return user == nullptr ? std::string_view{} : std::string_view(user->name);
}

std::size_t Registry::mailbox_entries() const {
  return requests_->size();
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
      (user.history && !user.history->budget.empty(limits_.budget, now)) ||
      (user.has_deaths() && now < user.last_active + kRememberDeathsMs)) {
    return;
  }
  unschedule(user);
  --counts_[static_cast<std::size_t>(UserState::kAbsent)];
  users_->remove(user);
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
  static const History kNone;
  const History& history = user->history ? *user->history : kNone;
  const bool waits = user->state == UserState::kBackoff || user->state == UserState::kQuarantined;
  return UserView{.user = user->name,
                  .state = user->state,
                  .generation = user->generation,
                  .last_active_ms = user->last_active,
                  .sessions = user->sessions,
                  .in_flight = user->delivered.size(),
                  .queued = user->queued.size(),
                  .starts = user->starts,
                  .deaths = history.deaths,
                  .start_failures = history.start_failures,
                  .last_death = history.last_death,
                  .last_crash = history.last_crash,
                  .last_request = history.last_request,
                  .retry_in_ms = waits ? left(user->until, now) : 0};
}

std::vector<UserView> Registry::users(std::int64_t now) const {
  std::vector<UserView> out;
  out.reserve(users_->size());
  for (const User* known : users_->all()) {
    out.push_back(*user(now, known->name));
  }
  std::ranges::sort(out, {}, &UserView::user);
  return out;
}

}  // namespace cosigner::supervisor
