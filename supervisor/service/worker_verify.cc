// Checks of stored keys, ordered by an operator: rows go to their user's worker one at a time, and
// what it finds goes to whoever asked. Nothing is kept of it, and no share is seen here.

#include <utility>

#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

/// At once. Each holds the rows of one user, 256 MiB at the most, which is all a worker is given.
constexpr std::size_t kMaxVerifications = 2;
/// For one key, the worker's start included.
constexpr std::int64_t kVerifyPatienceMs = 30'000;

Error not_verified(ErrorCode code, std::string why) {
  return retryable(code, std::move(why) + " Ask again.");
}

}  // namespace

Expected<void> WorkerPool::verify(const std::string& user, Verification order) {
  if (verifying_.contains(user) || verifying_.size() >= kMaxVerifications) {
    return std::unexpected(
        not_verified(ErrorCode::kOverloaded, "This node is at another check of stored keys."));
  }
  if (auto started = registry_.start(monotonic_ms(), user); !started) {
    return started;
  }
  verifying_.emplace(user, Verifying{.order = std::move(order),
                                     .number = 0,
                                     .generation = 0,
                                     .until = monotonic_ms() + kVerifyPatienceMs});
  for (const auto& [generation, worker] : workers_) {
    if (worker->holder.user == user && worker->started && !worker->socket_over) {
      verify_next(*worker);
      break;
    }
  }
  pump();
  const auto view = registry_.user(monotonic_ms(), user);
  if (verifying_.contains(user) &&
      (!view || view->state == UserState::kAbsent || view->state == UserState::kBackoff)) {
    verifying_.erase(user);  // no room for it, or it has died and waits: said now, not in 30 s
    return std::unexpected(
        not_verified(ErrorCode::kOverloaded, "No process can be started for the user now."));
  }
  return {};
}

void WorkerPool::verify_next(Worker& worker) {
  const auto found = verifying_.find(worker.holder.user);
  if (found == verifying_.end()) {
    return;
  }
  Verifying& verifying = found->second;
  verifying.number = ++last_verification_;
  verifying.generation = worker.holder.generation;
  verifying.until = monotonic_ms() + kVerifyPatienceMs;
  // A worker that is asked is in use, and not the first to be evicted between two keys.
  static_cast<void>(registry_.start(monotonic_ms(), worker.holder.user));
  send(worker, ipc::VerifyKey{.number = verifying.number, .key = verifying.order.keys.front()});
}

void WorkerPool::on_key_verified(Worker& worker, const ipc::KeyVerified& said) {
  const auto found = verifying_.find(worker.holder.user);
  if (found == verifying_.end() || found->second.number != said.number ||
      found->second.generation != worker.holder.generation) {
    return;  // whoever asked has gone
  }
  Verification& order = found->second.order;
  const ipc::StoredKey key = std::move(order.keys.front());
  order.keys.pop_front();
  if (!order.on_key(key, said.fault)) {
    verifying_.erase(found);
  } else if (order.keys.empty()) {
    end_verification(worker.holder.user, std::nullopt);
  } else {
    verify_next(worker);
  }
}

void WorkerPool::verifier_over(const std::string& user, std::uint64_t generation, bool clean) {
  const auto found = verifying_.find(user);
  if (found == verifying_.end()) {
    return;
  }
  if (found->second.generation == generation && !clean) {
    end_verification(user, not_verified(ErrorCode::kWorkerCrashed,
                                        "The user's process ended during the check of key " +
                                            found->second.order.keys.front().key + "."));
    return;
  }
  // It was on its way out when the order came, or it made room for another user: the next goes on
  // with the key that it left.
  found->second.generation = 0;
  if (const auto started = registry_.start(monotonic_ms(), user); !started) {
    end_verification(user, started.error());
  }
}

void WorkerPool::end_verification(const std::string& user, const std::optional<Error>& error) {
  const auto ended = verifying_.extract(user);  // before it is told: it may order the next
  ended.mapped().order.on_end(error);
}

void WorkerPool::expire_verifications() {
  std::vector<std::string> late;
  for (const auto& [user, verifying] : verifying_) {
    if (monotonic_ms() >= verifying.until) {
      late.push_back(user);
    }
  }
  for (const std::string& user : late) {
    end_verification(
        user, not_verified(ErrorCode::kOverloaded, "The user's process did not answer in 30 s."));
  }
}

}  // namespace cosigner::supervisor
