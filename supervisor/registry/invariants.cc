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
  for (const auto& [name, owned] : users_) {
    const User& user = *owned;
    const auto broken = [&user](std::string_view what) {
      return std::optional("user '" + user.name + "' (" + std::string(user_state_name(user.state)) +
                           "): " + std::string(what));
    };
    ++counts[static_cast<std::size_t>(user.state)];
    std::size_t own_bytes = 0;
    for (const Waiting& waiting : user.queued) {
      own_bytes += waiting.bytes;
    }
    for (const auto& [number, waiting] : user.delivered) {
      own_bytes += waiting.bytes;
      if (number != waiting.info.number) {
        return broken("a delivered request is filed under another number");
      }
    }
    bytes += own_bytes;
    entries += user.queued.size() + user.delivered.size();
    live += user.live() ? 1U : 0U;
    starting += user.counts_starting ? 1U : 0U;
    asked += user.ask != 0 ? 1U : 0U;
    in_spawn_queue += user.spawn_place ? 1U : 0U;
    in_idle += user.idle_place ? 1U : 0U;

    // Limits.
    if (own_bytes != user.bytes || user.bytes > highest_.mailbox_bytes) {
      return broken("its mailbox is miscounted or too large");
    }
    if (user.queued.size() + user.delivered.size() > highest_.mailbox_entries) {
      return broken("it has too many requests");
    }
    // One worker: a live generation is in exactly one place, and only these states have one.
    if (user.live()) {
      const auto found = live_.find(user.generation);
      if (found == live_.end() || found->second != &user) {
        return broken("its generation is not filed");
      }
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
    if (user.spawn_place.has_value() != (user.state == UserState::kStarting && !user.live())) {
      return broken("it is wrongly in or out of the spawn queue");
    }
    if (user.idle_place.has_value() != (user.state == UserState::kReady && user.ask == 0)) {
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
    if (user.scheduled_at && !timers_.contains({*user.scheduled_at, owned.get()})) {
      return broken("its timer is lost");
    }
    if (at && *at != kNever && (!user.scheduled_at || *user.scheduled_at > *at)) {
      return broken("its deadline is not scheduled");
    }
  }
  if (counts != counts_ || bytes != total_bytes_ || entries != total_entries_ ||
      live != live_.size() || starting != starting_ || asked != evicting_ ||
      in_spawn_queue != spawn_queue_.size() || in_idle != idle_.size()) {
    return "a count is wrong";
  }
  if (total_bytes_ > highest_.total_mailbox_bytes || live > highest_.max_workers) {
    return "a limit of the node is exceeded";
  }
  for (const auto& [generation, user] : live_) {
    if (generation == 0 || user->generation != generation) {
      return "a generation is filed under another user";
    }
  }
  return std::nullopt;
}

}  // namespace cosigner::supervisor
