// The registry's promises, stated and checked in one place.

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {

std::optional<std::string> Registry::check_invariants() const {
  std::array<std::size_t, kUserStates> counts{};
  std::size_t bytes = 0;
  std::size_t entries = 0;
  std::size_t live = 0;
  std::size_t starting = 0;
  std::size_t asked = 0;
  std::size_t in_spawn_queue = 0;
  std::size_t in_idle = 0;
  std::size_t scheduled = 0;
  const std::vector<User*> users = users_->all();
  for (const User* known : users) {
    const User& user = *known;
    const auto broken = [&user](std::string_view what) {
      return std::optional("user '" + user.name + "' (" + std::string(user_state_name(user.state)) +
                           "): " + std::string(what));
    };
    ++counts[static_cast<std::size_t>(user.state)];
    if (users_->find(user.name) != &user) {
      return broken("it is not found by its name");
    }
    std::size_t own_bytes = 0;
    std::size_t own_entries = 0;
    std::uint64_t last = 0;
    const auto wrong = [&](const Waiting& waiting, bool delivered) {
      own_bytes += waiting.bytes;
      ++own_entries;
      return waiting.user != &user || waiting.delivered != delivered ||
             requests_->find(waiting.info.number) != &waiting ||
             std::exchange(last, waiting.info.number) >= waiting.info.number;
    };
    // First come, first delivered: one list goes on where the other ends.
    if (user.delivered.any([&](const Waiting& waiting) { return wrong(waiting, true); }) ||
        user.queued.any([&](const Waiting& waiting) { return wrong(waiting, false); })) {
      return broken("a request is misfiled or out of order");
    }
    bytes += own_bytes;
    entries += own_entries;
    live += user.live() ? 1U : 0U;
    starting += user.counts_starting ? 1U : 0U;
    asked += user.ask != 0 ? 1U : 0U;
    in_spawn_queue += spawn_queue_.contains(user.slot) ? 1U : 0U;
    in_idle += idle_.contains(user.slot) ? 1U : 0U;
    scheduled += user.scheduled_at != kNever ? 1U : 0U;

    // Limits.
    if (own_bytes != user.bytes || own_entries != user.entries ||
        user.bytes > highest_.mailbox_bytes) {
      return broken("its mailbox is miscounted or too large");
    }
    if (user.entries > highest_.mailbox_entries) {
      return broken("it has too many requests");
    }
    // One worker: a live generation is in exactly one place, and only these states have one.
    if (user.live() && find_live(user.generation) != &user) {
      return broken("its generation is not filed");
    }
    const bool may_live =
        user.state == UserState::kStarting || user.serves() || user.state == UserState::kDraining;
    const bool must_live = user.serves() || user.state == UserState::kDraining;
    if ((user.live() && !may_live) || (!user.live() && must_live)) {
      return broken("its state and its process do not fit");
    }
    // Work is delivered to live, ready workers only, and waits only where something will end it.
    if (!user.delivered.empty() && !(user.live() && user.ready)) {
      return broken("requests are delivered to no worker");
    }
    if (!user.queued.empty() &&
        (user.state == UserState::kAbsent || user.state == UserState::kQuarantined ||
         (user.serves() && user.ask == 0) || (user.state == UserState::kDraining && draining()))) {
      return broken("requests wait for nothing");
    }
    if (user.state == UserState::kDraining && !user.queued.empty() && !deadline_of(user)) {
      return broken("requests wait behind a process that may never end");
    }
    if (user.state == UserState::kReady && !user.delivered.empty()) {
      return broken("ready with work in flight");
    }
    // Lists.
    if (spawn_queue_.contains(user.slot) != (user.state == UserState::kStarting && !user.live())) {
      return broken("it is wrongly in or out of the spawn queue");
    }
    if (idle_.contains(user.slot) != (user.state == UserState::kReady && user.ask == 0)) {
      return broken("it is wrongly in or out of the idle list");
    }
    if (user.counts_starting != (user.state == UserState::kStarting && user.live())) {
      return broken("it is wrongly counted as starting");
    }
    if ((user.ask != 0 && !user.serves()) || (user.leaving && user.state != UserState::kDraining) ||
        (user.kill != KillReason::kNone && user.state != UserState::kDraining)) {
      return broken("it is asked, leaving or killed in another state");
    }
    // Whatever can hang has a deadline in the timer set, no later than it should.
    const auto at = deadline_of(user);
    if (timers_.at(user.slot).value_or(kNever) != user.scheduled_at) {
      return broken("its timer is lost");
    }
    if (at && user.scheduled_at > *at) {
      return broken("its deadline is not scheduled");
    }
  }
  if (counts != counts_ || bytes != total_bytes_ || entries != requests_->size() ||
      live != live_.size() || starting != starting_ || asked != evicting_ ||
      in_spawn_queue != spawn_queue_.size() || in_idle != idle_.size() ||
      scheduled != timers_.size() || users.size() != users_->size()) {
    return "a count is wrong";
  }
  if (!spawn_queue_.whole() || !idle_.whole() || !timers_.whole()) {
    return "a list of the registry is damaged";
  }
  if (total_bytes_ > highest_.total_mailbox_bytes || live > highest_.max_workers) {
    return "a limit of the node is exceeded";
  }
  return std::nullopt;
}

}  // namespace cosigner::supervisor
