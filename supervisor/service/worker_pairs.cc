// Checks, burns and renewals of pairwise OT state: what the supervisor must know in
// memory while a worker checks, and what becomes of it when the worker dies.
//
// An open check is known here only, for no signature waits for an fsync. A worker's death with one
// open is a strike; the user's next worker is not started before the strike is durable. If the
// whole node dies in that moment, nothing is recorded: see README.

#include <algorithm>

#include "ipc/names.h"
#include "supervisor/log/log.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

/// Checks are made one after another, so that there is one at a time, and one more that failed and
/// waits for its ban; a worker that claims more is not ours.
constexpr std::size_t kMaxOpenChecks = 64;

template <class T>
Expected<void> without_value(const Expected<T>& outcome) {
  return outcome ? Expected<void>() : std::unexpected(outcome.error());
}

template <class A, class B>
bool same_pair(const A& a, const B& b) {
  return a.key == b.key && a.epoch == b.epoch && a.peer == b.peer;
}

}  // namespace

bool WorkerPool::is_peer_of_key(const std::string& key, const std::string& peer) const {
  return valid_key_name(key) && peer != config_.node &&
         std::ranges::find(config_.peers, peer, &ipc::Peer::node) != config_.peers.end();
}

std::size_t WorkerPool::open_checks(std::uint64_t generation) const {
  const auto found = workers_.find(generation);
  return found == workers_.end() ? 0 : found->second->checks.size();
}

void WorkerPool::on_checking(Worker& worker, ipc::Checking check) {
  if (!is_peer_of_key(check.key, check.peer)) {
    distrust(worker, "it checks messages of a node that is no peer");
    return;
  }
  const bool open = std::ranges::any_of(
      worker.checks, [&](const Unsettled& one) { return same_pair(one.check, check); });
  if (open || worker.checks.size() >= kMaxOpenChecks) {
    // An exception ended the last check, perhaps. What the peer made happen there is a strike, and
    // this death makes it one.
    distrust(worker, "it began a check while the last one with this peer had not ended");
    return;
  }
  ++pair_counters_.checks;
  worker.checks.push_back({std::move(check), std::nullopt, false});
}

void WorkerPool::on_checked(Worker& worker, const ipc::Checked& check) {
  const auto found = std::ranges::find_if(worker.checks, [&](const Unsettled& one) {
    return same_pair(one.check, check) && !one.burn;
  });
  if (found == worker.checks.end()) {
    distrust(worker, "it ended a check that it had not begun");
    return;
  }
  worker.checks.erase(found);
}

void WorkerPool::on_burn(Worker& worker, ipc::Burn order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  if (!is_peer_of_key(order.key, order.peer)) {
    if (order.failed) {
      distrust(worker, "it burnt a pair that is none");  // it would stay silent for good
      return;
    }
    confirm(generation, order.order, fail(ErrorCode::kBadRequest, "this is no pair of a key"), {});
    return;
  }
  if (order.failed) {
    // Until the ban is durable it is kept here as well: should the worker die first, its successor
    // is not started without it.
    const auto found = std::ranges::find_if(
        worker.checks, [&](const Unsettled& one) { return same_pair(one.check, order); });
    if (found != worker.checks.end()) {
      found->burn = order;
    } else {
      worker.checks.push_back({{order.key, order.epoch, order.peer}, order, false});
    }
  }
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order, now = wall_ms()](Store& store) { return store.burn(user, order, now); },
      [this, user, generation, order](const Expected<bool>& done) {
        // An erasure settles no check: one that is open may have begun since.
        if (Worker* burning = find(generation); burning != nullptr && done && order.failed) {
          std::erase_if(burning->checks,
                        [&](const Unsettled& one) { return same_pair(one.check, order); });
        }
        if (Worker* burning = find(generation); burning != nullptr && !done && order.failed) {
          // It would stay silent until the ban is durable; its callers get their answers this way,
          // and its successor starts only with the ban.
          distrust(*burning, "a ban could not be stored: " + done.error().message);
          pump();
          return;
        }
        if (done && order.failed) {
          pair_counters_.bans += *done ? 1U : 0U;
          changed({.user = user,
                   .generation = generation,
                   .key = order.key,
                   .peer = order.peer,
                   .was_banned = !*done,
                   .banned = true,
                   .reason = "a check of its messages failed"});
        }
        confirm(generation, order.order, without_value(done), {});
      });
}

void WorkerPool::on_store_renewed(Worker& worker, ipc::StoreRenewed order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = order.order;
  if (!is_peer_of_key(order.key, order.peer)) {
    confirm(generation, number, fail(ErrorCode::kBadRequest, "this is no pair of a key"), {});
    return;
  }
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order = std::move(order)](Store& store) { return store.renewed(user, order); },
      [this, generation, number](const Expected<void>& done) {
        confirm(generation, number, done, {});
      });
}

void WorkerPool::on_lift_ban(Worker& worker, ipc::LiftBan order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  if (!is_peer_of_key(order.key, order.peer)) {
    confirm(generation, order.order, fail(ErrorCode::kBadRequest, "this is no pair of a key"), {});
    return;
  }
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order](Store& store) { return store.lift(user, order); },
      [this, user, generation, order](const Expected<PairRecord>& done) {
        if (done) {
          const bool was_banned = done->banned != BanReason::kNone;
          pair_counters_.lifted += was_banned ? 1U : 0U;
          changed({.user = user,
                   .generation = generation,
                   .key = order.key,
                   .peer = order.peer,
                   .was_banned = was_banned,
                   .banned = false,
                   .reason = "its OT state is renewed on both nodes"});
        }
        confirm(generation, order.order, without_value(done), {});
      });
}

void WorkerPool::changed(PairChange change) {
  log_about(about(change.user, change.generation),
            change.banned ? spdlog::level::err : spdlog::level::info, "key={} peer={}: {}: {}",
            change.key, change.peer, change.banned ? "banned" : "usable", change.reason);
  outlets_.on_pair(change);
}

// ---- deaths

void WorkerPool::settle_checks(Worker& worker) {
  if (worker.checks.empty()) {
    return;
  }
  const std::string& user = worker.holder.user;
  std::vector<Unsettled>& waiting = unsettled_[user];
  for (Unsettled& open : worker.checks) {
    log_about(about(user, worker.holder.generation), spdlog::level::warn,
              "key={} peer={}: the worker died during a check of its messages", open.check.key,
              open.check.peer);
    waiting.push_back(std::move(open));
  }
  worker.checks.clear();
  settle(user);
}

void WorkerPool::settle(const std::string& user) {
  const auto found = unsettled_.find(user);
  if (found == unsettled_.end() || found->second.front().in_flight) {
    return;  // one batch at a time: the next follows it
  }
  for (Unsettled& one : found->second) {
    one.in_flight = true;
  }
  store_.submit(
      StoreThread::Urgency::kNow,
      [user, batch = found->second,
       now = wall_ms()](Store& store) -> Expected<std::vector<PairRecord>> {
        std::vector<PairRecord> struck;
        for (const Unsettled& one : batch) {
          if (one.burn) {
            const auto done = store.burn(user, *one.burn, now);
            if (!done && done.error().code == ErrorCode::kStorageFailed) {
              return std::unexpected(done.error());
            }
            // A refusal for what the order brings undoes nothing here: the ban, which comes before
            // the share, stands.
            continue;
          }
          auto pair = store.strike(user, one.check, now);
          if (!pair) {
            return std::unexpected(pair.error());
          }
          if (*pair) {
            struck.push_back(**std::move(pair));
          }
        }
        return struck;
      },
      [this, user, count = found->second.size()](const Expected<std::vector<PairRecord>>& struck) {
        settled(user, count, struck);
      });
}

void WorkerPool::settled(const std::string& user, std::size_t count,
                         const Expected<std::vector<PairRecord>>& struck) {
  std::vector<Unsettled>& waiting = unsettled_[user];
  if (!struck) {
    log_about(about(user), spdlog::level::err,
              "a strike could not be stored; no worker starts before it is: {}",
              struck.error().message);
    for (Unsettled& one : waiting) {
      one.in_flight = false;
    }
    return;
  }
  waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(count));
  if (waiting.empty()) {
    unsettled_.erase(user);
  } else {
    settle(user);
  }
  for (const PairRecord& pair : *struck) {
    ++pair_counters_.strikes;
    const bool banned = pair.banned != BanReason::kNone;
    const bool by_this = pair.banned == BanReason::kStrikes && pair.strikes == kStrikesToBan;
    pair_counters_.bans += by_this ? 1U : 0U;
    changed({.user = user,
             .generation = 0,
             .key = pair.key,
             .peer = pair.peer,
             .was_banned = banned && !by_this,
             .banned = banned,
             .reason = "strike " + std::to_string(pair.strikes) +
                       ": the worker died during a check of its messages"});
  }
}

void WorkerPool::load(const std::string& user, std::uint64_t generation) {
  settle(user);  // before what follows: the store's thread keeps the order
  store_.submit(
      StoreThread::Urgency::kNow,
      [user](Store& store) -> Expected<Loaded> {
        auto keys = store.intact_keys_of(user);
        if (!keys) {
          return std::unexpected(keys.error());
        }
        auto pairs = store.pairs_of(user);
        if (!pairs) {
          return std::unexpected(pairs.error());
        }
        return Loaded{std::move(keys->keys), *std::move(pairs), std::move(keys->altered)};
      },
      [this, user, generation](Expected<Loaded> loaded) {
        Worker* found = find(generation);
        if (found == nullptr) {
          return;
        }
        const auto unsettled = unsettled_.find(user);
        if (loaded && unsettled != unsettled_.end() && unsettled->second.front().in_flight) {
          load(user, generation);  // another death meanwhile: read again, after its strike
        } else if (!loaded || unsettled != unsettled_.end()) {
          Error error = loaded ? retryable(ErrorCode::kStorageFailed, "A strike is not stored yet.")
                               : loaded.error();
          log_about(about(user, generation), spdlog::level::err, "{}", error.message);
          error.message = "This node could not read the user's keys.";  // the cause is in its log
          error.retryable = true;
          registry_.load_failed(monotonic_ms(), generation, error);
        } else {
          for (const std::string& key : loaded->altered) {
            log_about(about(user, generation), spdlog::level::err,
                      "key={}: altered in the store outside of cosignerd and not used; "
                      "README.Debian, \"Backup\", says what may be put back",
                      key);
          }
          found->loaded = *std::move(loaded);
          start_if_complete(*found);
        }
        pump();
      });
}

Expected<void> WorkerPool::renew_pair(const std::string& user, const ipc::PairStanding& pair) {
  for (const auto& [generation, worker] : workers_) {
    if (worker->holder.user != user) {
      continue;
    }
    ipc::RenewPair order{.key = pair.key, .epoch = pair.epoch, .peer = pair.peer};
    if (worker->started) {
      send(*worker, order);
      pump();
      return {};
    }
    // What it is started with may have been read before the order was stored.
    worker->renew_orders.push_back(std::move(order));
  }
  auto started = registry_.start(monotonic_ms(), user);
  pump();
  return started;
}

}  // namespace cosigner::supervisor
