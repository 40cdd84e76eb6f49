// A worker's life: wanted, forked, ready, asked to go. How it ends: endings.cc.

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {
namespace {

constexpr std::uint32_t kFullRetryMs = 1000;

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

}  // namespace cosigner::supervisor
