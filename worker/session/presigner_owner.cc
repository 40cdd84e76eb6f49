// As owner: which runs to begin, for which set, and when. See presigner.h.

#include <algorithm>

#include "worker/session/presigner.h"

namespace cosigner::worker {

std::size_t Presigner::own_runs(std::string_view key, bool ordered) const {
  return static_cast<std::size_t>(std::ranges::count_if(runs_, [&](const auto& entry) {
    const PresignRun& run = *entry.second;
    return run.owned() && (key.empty() || run.setup().key == key) &&
           (!ordered || run.setup().ordered());
  }));
}

bool Presigner::usable(const Stock& stock, const Stream& stream) {
  return std::ranges::all_of(stream.members, [&](const Participant& member) {
    if (member.node == environment_.node) {
      return true;
    }
    if (!peers_.present(member.node) || peers_.distrusted(member.node) ||
        pairs_.banned(stock.key, member.node)) {
      return false;
    }
    if (peers_.certificate(member.node) == nullptr || peers_.link(member.node) == nullptr) {
      peers_.greet(member.node, true);  // its answer stirs
      return false;
    }
    const auto penalty = stock.penalties.find(member.node);
    return penalty == stock.penalties.end() || penalty->second.until_us <= environment_.now_us();
  });
}

bool Presigner::begin_run(const KeyEpoch& key, Stock& stock, const SessionId& order) {
  if (draining_ || stock.pool.size() + own_runs(key.stored.key, false) >=
                       environment_.settings.presignature_limit) {
    return false;
  }
  Stream* best = nullptr;
  SigningSet signers;
  std::size_t least = SIZE_MAX;
  for (Stream& stream : stock.streams) {
    if (stream.not_before_us > environment_.now_us()) {
      next_us_ = std::min(next_us_, stream.not_before_us);
      continue;
    }
    if (!usable(stock, stream)) {
      continue;
    }
    SigningSet set;
    for (const Participant& member : stream.members) {
      const bool self = member.node == environment_.node;
      set.push_back({member.index, member.node,
                     self ? environment_.generation : peers_.certificate(member.node)->generation});
    }
    const std::size_t stocked = stock.pool.own(set) + stream.running;
    if (stocked < least) {
      least = stocked;
      best = &stream;
      signers = std::move(set);
    }
  }
  if (best == nullptr) {
    return false;
  }
  const auto id = environment_.random.bytes<SessionId>();
  PresignRun::Setup setup{.id = id,
                          .key = key.stored.key,
                          .epoch = stock.epoch,
                          .record = stock.record,
                          .signers = std::move(signers),
                          .owner = environment_.node,
                          .number = ++stock.last_number,
                          .order = order};
  std::uint64_t floor = stock.pool.lowest_own().value_or(setup.number);
  for (const auto& [other, run] : runs_) {
    if (run->owned() && run->setup().key == setup.key) {
      floor = std::min(floor, run->setup().number);
    }
  }
  auto run = make_run(key, stock, std::move(setup));
  if (!run) {
    best->not_before_us = environment_.now_us() + kAfterFailure.cap_us;
    if (const auto asked = orders_.find(order); asked != orders_.end()) {
      asked->second.broken = true;
    }
    return false;
  }
  ++best->running;
  runs_.emplace(id, std::move(run));
  touch(id, [&](PresignRun& begun) { begun.propose(floor); });
  return true;
}

void Presigner::pump_orders() {
  const std::int64_t now = environment_.now_us();
  for (auto entry = orders_.begin(); entry != orders_.end();) {
    const auto [id, order] = std::tie(entry->first, entry->second);
    const KeyEpoch* key = keys_.find(order.key);
    Stock* known = key == nullptr ? nullptr : stock(*key);
    bool full = false;
    while (known != nullptr && order.made + running_for(id) < order.wanted &&
           own_runs({}, true) < kOrderedAtOnce) {
      if (!begin_run(*key, *known, id)) {
        full = known->pool.size() >= environment_.settings.presignature_limit;
        break;
      }
    }
    const bool over = known == nullptr || draining_ || order.broken || order.made >= order.wanted ||
                      now >= order.deadline_us || now >= order.stuck_us ||
                      (full && running_for(id) == 0);
    if (over && (running_for(id) == 0 || now >= order.deadline_us)) {
      finish_order(id, order, full ? "full" : "");
      entry = orders_.erase(entry);
      continue;
    }
    // Workers of participants that have not been met, or not heard of the request, are woken with
    // it.
    if (known != nullptr && running_for(id) == 0 && order.made < order.wanted) {
      for (const Participant& participant : known->participants) {
        if (participant.node == environment_.node || !peers_.present(participant.node)) {
          continue;
        }
        std::int64_t& woken =
            order.woken_us.try_emplace(participant.node, now + 100'000 - kWakeAgainUs)
                .first->second;
        if (now >= woken + kWakeAgainUs) {
          woken = now;
          ++environment_.counters.wakes;
          environment_.effects.emplace_back(
              ipc::Wake{.node = participant.node, .envelope = order.envelope});
        }
        next_us_ = std::min(next_us_, woken + kWakeAgainUs);
      }
    }
    next_us_ = std::min({next_us_, order.deadline_us, std::max(order.stuck_us, now + 1000)});
    ++entry;
  }
}

void Presigner::pump_refill(std::size_t foreground) {
  const std::size_t target = environment_.settings.presignature_pool;
  const std::int64_t now = environment_.now_us();
  if (target == 0 || draining_ || !orders_.empty()) {
    return;
  }
  const bool quiet = foreground == 0 && now >= foreground_us_ + kQuietUs;
  for (auto& [name, stock] : stocks_) {
    if (!stock->used) {
      continue;
    }
    const KeyEpoch* key = keys_.find(name);
    if (key == nullptr || key->digest != stock->record) {
      continue;
    }
    const std::size_t low_water = std::max<std::size_t>(target / kLowWaterPart, 1);
    for (;;) {
      const std::size_t running = own_runs(name, false);
      const std::size_t stocked = stock->pool.own() + running;
      const std::size_t at_once = quiet                           ? kRefillAtOnce
                                  : stock->pool.own() < low_water ? kRefillBusyAtOnce
                                                                  : 0;
      if (stocked >= target) {
        break;
      }
      if (running >= at_once) {
        if (!quiet && foreground == 0) {
          next_us_ = std::min(next_us_, foreground_us_ + kQuietUs);
        }
        break;
      }
      if (!begin_run(*key, *stock, SessionId{})) {
        break;
      }
    }
  }
}

void Presigner::pump(std::size_t foreground) {
  const std::int64_t now = environment_.now_us();
  if (foreground > 0) {
    foreground_us_ = now;
  }
  stirred_ = stirred_ || (foreground == 0 && foreground_ > 0);
  foreground_ = foreground;
  if (!stirred_ && now < next_us_) {
    return;
  }
  stirred_ = false;
  next_us_ = INT64_MAX;
  pump_orders();
  pump_refill(foreground);
  for (const auto& [id, run] : runs_) {
    next_us_ = std::min(next_us_, run->timer_us());
  }
  for (auto& [key, stock] : stocks_) {
    report(key, *stock);
  }
}

}  // namespace cosigner::worker
