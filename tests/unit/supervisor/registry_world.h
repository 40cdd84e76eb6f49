#pragma once
// A simulated node around the registry: workers that start, answer, crash, hang, agree or decline
// to go, with sockets that keep order and take time. It checks from outside what the registry
// promises.

#include <catch2/catch.hpp>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "supervisor/registry/registry.h"
#include "tests/support/seeded_random.h"

namespace cosigner::supervisor::test {

struct Odds {
  unsigned fork_fails = 3;  ///< in 100
  unsigned never_ready = 2;
  unsigned hangs_before_hello = 50;  ///< of those
  unsigned dies_starting = 3;
  unsigned crashes = 5;
  unsigned hangs = 2;
  unsigned dies_leaving = 5;
};

class World {
 public:
  World(RegistryLimits limits, std::uint64_t seed, Odds odds = {})
      : random_(seed), registry_(limits, random_), odds_(odds) {
    settle();
  }

  Registry& registry() { return registry_; }
  [[nodiscard]] std::int64_t now() const { return now_; }

  std::uint64_t request(const std::string& user, bool has_client = true, std::size_t bytes = 100) {
    return ask(user, last_id_ + 1, has_client, bytes);
  }
  /// The same request once more, as a client asks that has heard nothing yet.
  std::uint64_t repeat(const std::string& user, std::uint64_t first) { return ask(user, first); }
  std::uint64_t ask(const std::string& user, std::uint64_t session, bool has_client = true,
                    std::size_t bytes = 100) {
    const std::uint64_t id = ++last_id_;
    requests_[id].has_client = has_client;
    RequestInfo info;
    info.has_client = has_client;
    info.gateway_request = id;
    std::memcpy(info.session.data.data(), &session, sizeof session);
    info.operation = "sign";
    info.key = "k";
    registry_.request(now_, user, std::move(info), ByteVector(bytes));
    settle();
    return id;
  }

  void at(std::int64_t delay, std::function<void()> what) {
    events_.emplace(now_ + delay, std::move(what));
  }
  /// Runs until nothing is left to happen but idle timers, or `limit` ms have passed.
  void run(std::int64_t limit) {
    const std::int64_t end = now_ + limit;
    for (;;) {
      std::int64_t next = events_.empty() ? end : events_.begin()->first;
      if (const auto deadline = registry_.next_deadline()) {
        next = std::min(next, std::max(*deadline, now_));
      }
      if (next >= end) {
        now_ = end;
        return;
      }
      now_ = next;
      if (!events_.empty() && events_.begin()->first <= now_) {
        const auto what = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        what();
      } else {
        REQUIRE(++idle_turns_ < 1'000'000);  // a deadline that never moves on would spin
        registry_.on_timer(now_);
      }
      settle();
    }
  }
  void settle() {
    while (registry_.has_actions()) {
      registry_.take_actions(actions_);
      for (Action& action : actions_) {
        std::visit([this](auto& wanted) { perform(wanted); }, action);
      }
    }
    for (const auto& [user, told] : told_) {
      const auto view = registry_.user(now_, user);
      REQUIRE((view ? view->state : UserState::kAbsent) == told);
    }
    const auto broken = registry_.check_invariants();
    INFO(broken.value_or(""));
    REQUIRE_FALSE(broken);
  }
  std::uint64_t dice(std::uint64_t sides) { return random_.next_u64() % sides; }
  [[nodiscard]] std::size_t unanswered() const {
    std::size_t count = 0;
    for (const auto& [id, request] : requests_) {
      count += request.has_client && request.answers == 0 ? 1U : 0U;
    }
    return count;
  }
  [[nodiscard]] const std::optional<Error>& error_of(std::uint64_t id) const {
    return requests_.at(id).error;
  }
  [[nodiscard]] bool answered(std::uint64_t id) const { return requests_.at(id).answers == 1; }
  /// Requests with a client that failed, by whether a worker had been given them.
  struct Failed {
    std::size_t delivered = 0;
    std::size_t undelivered = 0;
  };
  [[nodiscard]] const Failed& failed() const { return failed_; }
  [[nodiscard]] std::size_t live() const { return workers_.size(); }
  /// Ends a user's worker from outside, as an operator's kill -9 would.
  void kill_from_outside(const std::string& user) {
    if (const auto found = by_user_.find(user); found != by_user_.end()) {
      die(found->second, {ExitKind::kSignal, 9, {}, 0});
      settle();
    }
  }
  Odds& odds() { return odds_; }

 private:
  struct Request {
    bool has_client = true;
    int answers = 0;
    std::optional<Error> error;
  };
  struct Worker {
    std::string user;
    std::int64_t inbox_busy_until = 0;
    std::int64_t outbox_busy_until = 0;
    std::set<std::uint64_t> in_flight;
    bool unborn = false;  ///< its fork will fail: there is nobody to kill
    bool ready = false;
    bool hung = false;
    bool leaving = false;
    bool dying = false;
    bool draining = false;
  };

  bool chance(unsigned percent) { return dice(100) < percent; }
  std::int64_t delay(std::int64_t most) {
    return static_cast<std::int64_t>(dice(static_cast<std::uint64_t>(most) + 1));
  }
  Worker* find(std::uint64_t generation) {
    const auto found = workers_.find(generation);
    return found == workers_.end() ? nullptr : &found->second;
  }
  /// Supervisor → worker, in order.
  void to_worker(std::uint64_t generation, std::function<void(Worker&)> what) {
    Worker* worker = find(generation);
    if (worker == nullptr) {
      return;
    }
    worker->inbox_busy_until = std::max(worker->inbox_busy_until, now_ + delay(3));
    at(worker->inbox_busy_until - now_, [this, generation, what = std::move(what)] {
      Worker* found = find(generation);
      if (found != nullptr && !found->dying && !found->hung) {
        what(*found);
      }
    });
  }
  /// Worker → supervisor, in order; what was sent before a death still arrives.
  void to_registry(std::uint64_t generation, std::function<void()> what) {
    Worker* worker = find(generation);
    worker->outbox_busy_until = std::max(worker->outbox_busy_until, now_ + delay(3));
    at(worker->outbox_busy_until - now_, std::move(what));
  }
  void die(std::uint64_t generation, ExitCause cause) {
    Worker* worker = find(generation);
    if (worker == nullptr || worker->dying || worker->unborn) {
      return;
    }
    worker->dying = true;
    to_registry(generation, [this, generation, cause] {
      by_user_.erase(workers_.at(generation).user);
      workers_.erase(generation);
      registry_.exited(now_, generation, cause);
    });
  }

  void perform(action::ReserveGenerations&) {
    at(delay(5), [this] {
      registry_.generations_reserved(now_, next_generation_, 3);
      next_generation_ += 3;
    });
  }
  void perform(action::Fork& fork) {
    REQUIRE(by_user_.emplace(fork.user, fork.generation).second);  // at most one live worker
    REQUIRE(fork.generation > 0);
    REQUIRE(seen_.insert(fork.generation).second);  // never used twice
    workers_[fork.generation].user = fork.user;
    const std::uint64_t generation = fork.generation;
    if (chance(odds_.fork_fails)) {
      workers_[generation].unborn = true;
      at(delay(5), [this, generation] {
        by_user_.erase(workers_.at(generation).user);
        workers_.erase(generation);
        registry_.fork_failed(now_, generation, "no zygote");
      });
    } else if (chance(odds_.dies_starting)) {
      die(generation, {ExitKind::kExited, 70, {}, 0});
    } else if (!chance(odds_.never_ready)) {
      to_registry(generation, [this, generation] {
        if (Worker* worker = find(generation); worker != nullptr) {
          worker->ready = true;
          registry_.greeted(generation);
          registry_.ready(now_, generation);
        }
      });
    } else {
      workers_[generation].hung = true;
      if (!chance(odds_.hangs_before_hello)) {
        registry_.greeted(generation);
      }
    }
  }
  void perform(action::Deliver& deliver) {
    const std::uint64_t generation = deliver.generation;
    const std::uint64_t number = deliver.number;
    REQUIRE(delivered_.insert(number).second);  // a worker may act on it: nobody gets it again
    Worker* worker = find(generation);
    REQUIRE(worker != nullptr);
    REQUIRE(worker->ready);
    to_worker(generation, [this, generation, number](Worker& found) {
      REQUIRE_FALSE(found.leaving);  // work delivered to a worker that agreed to go would be lost
      found.in_flight.insert(number);
      if (chance(odds_.crashes)) {
        die(generation, {ExitKind::kSignal, 11, {}, 0});
      } else if (chance(odds_.hangs)) {
        found.hung = true;
      } else {
        at(delay(40), [this, generation, number] {
          Worker* now_found = find(generation);
          if (now_found != nullptr && !now_found->dying && !now_found->hung) {
            now_found->in_flight.erase(number);
            to_registry(generation, [this, generation, number] { answer(generation, number); });
            leave_if_done(generation, *now_found);
          }
        });
      }
    });
  }
  void answer(std::uint64_t generation, std::uint64_t number) {
    if (const auto info = registry_.answer(now_, generation, number)) {
      if (info->has_client) {
        Request& request = requests_.at(info->gateway_request);
        REQUIRE(++request.answers == 1);
      }
    }
  }
  void leave_if_done(std::uint64_t generation, Worker& worker) {
    if (worker.draining && worker.in_flight.empty()) {
      worker.leaving = true;
      die(generation, {ExitKind::kExited, 0, {}, 0});
    }
  }
  void perform(action::AskEvict& ask) {
    to_worker(ask.generation, [this, ask](Worker& worker) {
      const bool agree = worker.in_flight.empty();
      to_registry(ask.generation, [this, ask, agree] {
        registry_.evict_reply(now_, ask.generation, ask.ask, agree);
      });
      if (agree) {
        worker.leaving = true;
        die(ask.generation, chance(odds_.dies_leaving) ? ExitCause{ExitKind::kSignal, 6, {}, 0}
                                                       : ExitCause{ExitKind::kExited, 0, {}, 0});
      }
    });
  }
  void perform(action::Drain& drain) {
    to_worker(drain.generation, [this, drain](Worker& worker) {
      worker.draining = true;
      leave_if_done(drain.generation, worker);
    });
  }
  void perform(action::Kill& kill) { die(kill.generation, {ExitKind::kSignal, 9, {}, 0}); }
  void perform(action::Fail& fail) {
    REQUIRE(fail.info.has_client);
    Request& request = requests_.at(fail.info.gateway_request);
    REQUIRE(++request.answers == 1);
    request.error = fail.error;
    REQUIRE_FALSE(fail.error.message.empty());
    // What no worker was given has not executed; what one was given may have.
    const bool delivered = delivered_.contains(fail.info.number);
    INFO(error_name(fail.error.code) << ": " << fail.error.message);
    REQUIRE(fail.error.may_have_executed == delivered);
    ++(delivered ? failed_.delivered : failed_.undelivered);
  }
  // What `events --follow` tells: each change begins where the last one of this user ended, says
  // why, and names the worker where there is or was one.
  void perform(action::Changed& change) {
    UserState& last = told_.try_emplace(change.user, UserState::kAbsent).first->second;
    INFO(change.user << ": " << user_state_name(change.from) << " to " << user_state_name(change.to)
                     << ": " << change.reason);
    REQUIRE(change.from == last);
    REQUIRE(change.to != last);
    REQUIRE_FALSE(change.reason.empty());
    const auto has_worker = [](UserState state) {
      return state == UserState::kReady || state == UserState::kBusy ||
             state == UserState::kDraining;
    };
    REQUIRE((change.generation != 0 || !(has_worker(change.from) || has_worker(change.to))));
    last = change.to;
  }
  void perform(action::EvictDeclined&) {}

  SeededRandom random_;
  std::int64_t now_ = 1000;
  Registry registry_;
  std::vector<Action> actions_;
  Odds odds_;
  std::multimap<std::int64_t, std::function<void()>> events_;
  std::map<std::uint64_t, Worker> workers_;
  std::map<std::string, std::uint64_t> by_user_;
  std::set<std::uint64_t> seen_;
  std::map<std::uint64_t, Request> requests_;
  std::set<std::uint64_t> delivered_;  ///< numbers of the registry
  Failed failed_;
  std::map<std::string, UserState> told_;  ///< of each user's last change
  std::uint64_t next_generation_ = 1;
  std::uint64_t last_id_ = 0;
  std::uint64_t idle_turns_ = 0;
};

/// Nothing goes wrong by chance.
inline Odds calm() {
  return {.fork_fails = 0,
          .never_ready = 0,
          .dies_starting = 0,
          .crashes = 0,
          .hangs = 0,
          .dies_leaving = 0};
}

/// Requests refused for this limit; those for any are the sum, and no more.
inline std::uint64_t refused_for(const Registry& registry, Limit limit) {
  const RegistryCounters& counters = registry.counters();
  std::uint64_t sum = 0;
  for (const std::uint64_t count : counters.overloaded_by_limit) {
    sum += count;
  }
  CHECK(sum == counters.overloaded);
  return counters.overloaded_by_limit[static_cast<std::size_t>(limit)];
}

}  // namespace cosigner::supervisor::test
