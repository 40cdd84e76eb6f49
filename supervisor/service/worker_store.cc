// Workers' orders at the store, each confirmed to the worker that gave it, if it still lives.
// Pairs' are in worker_pairs.cc.

#include "ipc/names.h"
#include "supervisor/log/log.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

/// A worker writes a result for each signature, and a group commit of them takes milliseconds: far
/// fewer than these are under way in a worker that means well.
constexpr std::size_t kMaxStoreOrders = 1024;
constexpr std::size_t kMaxStoreBytes = 16U << 20;
/// A result is never kept longer than the longest request lives, and a day.
constexpr std::uint64_t kLongestKeepMs = 402ULL * 24 * 3600 * 1000;

}  // namespace

void WorkerPool::note_stored(StoreOperation operation, std::int64_t ordered_us) {
  metrics_.stored(operation, static_cast<std::uint64_t>(monotonic_us() - ordered_us));
}

void WorkerPool::order_begins(Worker& worker, std::size_t bytes) {
  ++worker.store_orders;
  worker.store_bytes += bytes;
  if (!worker.held_back && worker.channel &&
      (worker.store_orders >= kMaxStoreOrders || worker.store_bytes >= kMaxStoreBytes)) {
    worker.held_back = true;
    worker.channel->pause();
  }
}

void WorkerPool::order_ends(std::uint64_t generation, std::size_t bytes) {
  Worker* worker = find(generation);
  if (worker == nullptr) {
    return;
  }
  --worker->store_orders;
  worker->store_bytes -= bytes;
  if (worker->held_back && worker->channel && worker->store_orders < kMaxStoreOrders / 2 &&
      worker->store_bytes < kMaxStoreBytes / 2) {
    worker->held_back = false;
    worker->channel->resume();
  }
}

void WorkerPool::confirm(std::uint64_t generation, std::uint64_t order,
                         const Expected<void>& outcome, ByteVector statement) {
  Worker* worker = find(generation);
  if (worker == nullptr || order == 0) {
    return;
  }
  ipc::Stored stored;
  stored.order = order;
  stored.ok = outcome.has_value();
  if (!outcome) {
    stored.error_name = error_name(outcome.error().code);
    stored.error_message = outcome.error().message;
    if (outcome.error().code == ErrorCode::kStorageFailed) {
      log_about(about(worker->holder.user, generation), spdlog::level::err, "{}",
                outcome.error().message);
    }
  } else {
    stored.statement = std::move(statement);
  }
  send(*worker, stored);
  pump();
}

void WorkerPool::on_store_pending(Worker& worker, ipc::StorePending order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = order.order;
  auto key = std::make_shared<ipc::StoredKey>(std::move(order.key));
  submit_for(
      worker, StoreThread::Urgency::kNow, key->record.size() + key->sealed_share.size(),
      [user, key](Store& store) { return store.store_pending(user, *key); },
      [this, user, generation, number, key, ordered = monotonic_us()](const Expected<void>& done) {
        note_stored(StoreOperation::kPending, ordered);
        ByteVector statement;
        if (done) {
          statement = encode_statement(
              issuer_.statement(StatementKind::kKeyAcknowledgement, {user, generation}, key->key,
                                key->epoch, key->session, acknowledgement_digest(key->record)));
        }
        confirm(generation, number, done, std::move(statement));
      });
}

void WorkerPool::on_store_activate(Worker& worker, ipc::StoreActivate order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = order.order;
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order = std::move(order)](Store& store) { return store.activate(user, order); },
      [this, generation, number, ordered = monotonic_us()](const Expected<void>& done) {
        note_stored(StoreOperation::kActivate, ordered);
        confirm(generation, number, done, {});
      });
}

void WorkerPool::on_store_discard(Worker& worker, ipc::StoreDiscard order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = order.order;
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order = std::move(order)](Store& store) { return store.discard(user, order); },
      [this, generation, number](const Expected<void>& done) {
        confirm(generation, number, done, {});
      });
}

void WorkerPool::on_store_refusal(Worker& worker, const ipc::StoreRefusal& order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  if (!valid_key_name(order.key)) {
    confirm(generation, order.order, fail(ErrorCode::kBadRequest, "this is no key name"), {});
    return;
  }
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order](Store& store) { return store.refuse(user, order); },
      [this, user, generation, order](Expected<ByteVector> kept) {
        if (!kept) {
          confirm(generation, order.order, std::unexpected(kept.error()), {});
          return;
        }
        ByteVector statement = *std::move(kept);
        if (statement.empty()) {
          statement = encode_statement(issuer_.statement(StatementKind::kKeyRefusal,
                                                         {user, generation}, order.key, order.epoch,
                                                         order.session, order.digest));
        }
        confirm(generation, order.order, {}, std::move(statement));
      });
}

void WorkerPool::on_store_result(Worker& worker, ipc::StoreResult result) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = result.order;
  result.keep_until_ms = std::min(result.keep_until_ms, wall_ms() + kLongestKeepMs);
  const std::size_t bytes = result.answer.size();
  submit_for(
      worker, number == 0 ? StoreThread::Urgency::kBehind : StoreThread::Urgency::kNow, bytes,
      [user, result = std::move(result)](Store& store) { return store.store_result(user, result); },
      [this, user, generation, number, ordered = monotonic_us()](const Expected<void>& done) {
        note_stored(StoreOperation::kResult, ordered);
        if (!done && number == 0) {
          log_about(about(user, generation), spdlog::level::warn, "a result was not stored: {}",
                    done.error().message);
        }
        confirm(generation, number, done, {});
      });
}

void WorkerPool::on_lookup(Worker& worker, const ipc::ResultLookup& lookup) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = lookup.order;
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, lookup](Store& store) { return store.find_result(user, lookup); },
      [this, generation, number, ordered = monotonic_us()](Expected<FoundResult> found) {
        note_stored(StoreOperation::kLookup, ordered);
        Worker* asking = find(generation);
        if (asking == nullptr) {
          return;
        }
        ipc::ResultFound reply;
        reply.order = number;
        if (!found) {
          // Unreadable is not absent: other bytes under the same id would run as well.
          log_about(about(asking->holder.user, generation), spdlog::level::err, "{}",
                    found.error().message);
          reply.failed = true;
        } else {
          reply.replayed = found->replayed;
          reply.found = found->answer.has_value();
          reply.answer = std::move(found->answer).value_or(ByteVector());
        }
        send(*asking, reply);
        pump();
      });
}

}  // namespace cosigner::supervisor
