// What workers say. User and generation are those of the socket; what a frame claims about itself
// concerns that one user and nobody else.

#include "ipc/answer.h"
#include "ipc/names.h"
#include "ipc/start_keys.h"
#include "supervisor/log/log.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

constexpr std::uint32_t kLogLinesPerSecond = 50;
constexpr std::uint32_t kWakesPerSecond = 500;
/// A worker writes a result for each signature, and a group commit of them takes milliseconds: far
/// fewer than these are under way in a worker that means well.
constexpr std::size_t kMaxStoreOrders = 1024;
constexpr std::size_t kMaxStoreBytes = 16U << 20;
constexpr std::int64_t kRenewAtMostEveryMs = 1000;
/// How many keys' stocks are remembered of one worker.
constexpr std::size_t kKeysWithPresignatures = 1024;
/// A result is never kept longer than the longest request lives, and a day.
constexpr std::uint64_t kLongestKeepMs = 402ULL * 24 * 3600 * 1000;

spdlog::level::level_enum log_level(std::uint8_t level) {
  switch (level) {
    case 0:
      return spdlog::level::trace;
    case 1:
      return spdlog::level::debug;
    case 2:
      return spdlog::level::info;
    case 3:
      return spdlog::level::warn;
    default:
      return spdlog::level::err;
  }
}

/// "ok", or the name of the error that the answer carries.
std::string_view outcome_of(const ByteVector& answer) {
  const auto decoded = decode_answer(answer);
  if (!decoded) {
    return error_name(ErrorCode::kInternal);
  }
  const auto* error = std::get_if<Error>(&decoded->content);
  return error == nullptr ? "ok" : error_name(error->code);
}

}  // namespace

template <class Message, class Handle>
void WorkerPool::with(Worker& worker, const ipc::Frame& frame, Handle handle) {
  auto message = ipc::decode<Message>(frame);
  if (!message) {
    distrust(worker, message.error().message);
    return;
  }
  handle(*message);
}

void WorkerPool::on_frame(Worker& worker, const ipc::Frame& frame) {
  using Type = ipc::MessageType;
  const std::uint64_t generation = worker.holder.generation;
  registry_.alive(monotonic_ms(), generation);
  send_owed_presence(worker);
  switch (frame.type) {
    case Type::kWorkerHello:
      with<ipc::WorkerHello>(worker, frame, [&](auto& hello) { on_hello(worker, hello); });
      break;
    case Type::kStartKeysTaken:
      with<ipc::StartKeysTaken>(worker, frame, [&](auto& taken) { on_keys_taken(worker, taken); });
      break;
    case Type::kSandboxed:
      with<ipc::Sandboxed>(worker, frame, [&](auto& sandboxed) { worker.sandboxed = sandboxed; });
      break;
    case Type::kWorkerMetrics:
      with<ipc::WorkerMetrics>(worker, frame, [&](auto& metrics) { on_metrics(worker, metrics); });
      break;
    case Type::kWorkerReady:
      with<ipc::WorkerReady>(worker, frame, [&](auto& ready) {
        worker.threads = ready.threads;
        if (worker.started) {
          metrics_.spawned(static_cast<std::uint64_t>(monotonic_us() - worker.ordered_us));
          registry_.ready(monotonic_ms(), generation);
        } else {
          distrust(worker, "it was ready before it was started");
        }
      });
      break;
    case Type::kAnswer:
      with<ipc::Answer>(worker, frame, [&](auto& answer) { on_answer(worker, std::move(answer)); });
      break;
    case Type::kStorePending:
      with<ipc::StorePending>(worker, frame,
                              [&](auto& order) { on_store_pending(worker, std::move(order)); });
      break;
    case Type::kStoreActivate:
      with<ipc::StoreActivate>(worker, frame,
                               [&](auto& order) { on_store_activate(worker, std::move(order)); });
      break;
    case Type::kStoreDiscard:
      with<ipc::StoreDiscard>(worker, frame,
                              [&](auto& order) { on_store_discard(worker, std::move(order)); });
      break;
    case Type::kStoreRefusal:
      with<ipc::StoreRefusal>(worker, frame,
                              [&](auto& order) { on_store_refusal(worker, std::move(order)); });
      break;
    case Type::kStoreResult:
      with<ipc::StoreResult>(worker, frame,
                             [&](auto& result) { on_store_result(worker, std::move(result)); });
      break;
    case Type::kResultLookup:
      with<ipc::ResultLookup>(worker, frame,
                              [&](auto& lookup) { on_lookup(worker, std::move(lookup)); });
      break;
    case Type::kWake:
      with<ipc::Wake>(worker, frame, [&](auto& wake) { on_wake(worker, std::move(wake)); });
      break;
    case Type::kHeartbeat:
      with<ipc::Heartbeat>(worker, frame, [&](auto& heartbeat) {
        registry_.heartbeat(monotonic_ms(), generation, heartbeat.sessions);
      });
      break;
    case Type::kEvictReply:
      with<ipc::EvictReply>(worker, frame, [&](auto& reply) {
        registry_.evict_reply(monotonic_ms(), generation, reply.ask, reply.agree);
      });
      break;
    case Type::kChecking:
      with<ipc::Checking>(worker, frame,
                          [&](auto& check) { on_checking(worker, std::move(check)); });
      break;
    case Type::kChecked:
      with<ipc::Checked>(worker, frame, [&](auto& check) { on_checked(worker, check); });
      break;
    case Type::kBurn:
      with<ipc::Burn>(worker, frame, [&](auto& order) { on_burn(worker, std::move(order)); });
      break;
    case Type::kStoreRenewed:
      with<ipc::StoreRenewed>(worker, frame,
                              [&](auto& order) { on_store_renewed(worker, std::move(order)); });
      break;
    case Type::kLiftBan:
      with<ipc::LiftBan>(worker, frame,
                         [&](auto& order) { on_lift_ban(worker, std::move(order)); });
      break;
    case Type::kRenewAsk:
      with<ipc::RenewAsk>(worker, frame, [&](auto&) { on_renew(worker); });
      break;
    case Type::kLog:
      with<ipc::Log>(worker, frame, [&](auto& line) { on_log(worker, line); });
      break;
    case Type::kPresignatureStock:
      with<ipc::PresignatureStock>(
          worker, frame, [&](auto& stock) { on_presignatures(worker, std::move(stock)); });
      break;
    default:
      distrust(worker, "it sent a frame of a type that no worker sends");
  }
  pump();
}

// ---- starting

void WorkerPool::on_hello(Worker& worker, const ipc::WorkerHello& hello) {
  if (worker.hello) {
    distrust(worker, "it said hello twice");
    return;
  }
  worker.hello = hello;
  registry_.greeted(worker.holder.generation);
  start_if_complete(worker);
}

void WorkerPool::start_if_complete(Worker& worker) {
  if (!worker.hello || !worker.loaded || worker.starting) {
    return;
  }
  worker.starting = true;
  auto parts = ipc::split_start_keys(std::move(worker.loaded->keys));
  if (!parts) {
    distrust(worker, parts.error().message);
    return;
  }
  worker.key_parts.assign(std::make_move_iterator(parts->begin()),
                          std::make_move_iterator(parts->end()));
  continue_start(worker);
}

void WorkerPool::on_keys_taken(Worker& worker, const ipc::StartKeysTaken& taken) {
  if (!worker.starting || worker.started || taken.keys != worker.keys_sent) {
    distrust(worker, "it acknowledged keys that were not sent");
    return;
  }
  continue_start(worker);
}

void WorkerPool::continue_start(Worker& worker) {
  std::vector<ipc::StoredKey> part = std::move(worker.key_parts.front());
  worker.key_parts.pop_front();
  if (!worker.key_parts.empty()) {
    worker.keys_sent += static_cast<std::uint32_t>(part.size());
    send(worker, ipc::StartKeys{.keys = std::move(part)});
    return;
  }
  const std::uint64_t now_s = wall_seconds();
  auto access = issuer_.broker_access(worker.holder, worker.hello->broker_key, now_s);
  if (!access) {
    distrust(worker, access.error().message);
    return;
  }
  ipc::WorkerStart start;
  start.cluster = config_.cluster;
  start.node = config_.node;
  start.user = worker.holder.user;
  start.generation = worker.holder.generation;
  start.certificate = issuer_.worker_certificate(worker.holder, worker.hello->channel_key,
                                                 worker.hello->signing_key, now_s);
  start.broker = std::move(*access);
  start.sealing_key = issuer_.sealing_key(worker.holder.user);
  start.peers = config_.peers;
  start.initiators = config_.initiators;
  start.keys = std::move(part);
  for (const PairRecord& pair : worker.loaded->pairs) {
    start.pairs.push_back(pair.standing());
  }
  start.present = outlets_.present();
  start.settings = config_.sessions;
  worker.loaded.emplace();  // it is the worker's now
  worker.started = true;
  send(worker, start);
  for (const ipc::RenewPair& order : std::exchange(worker.renew_orders, {})) {
    send(worker, order);
  }
}

void WorkerPool::on_renew(Worker& worker) {
  const std::int64_t now = monotonic_ms();
  if (!worker.started || now < worker.renewed_at + kRenewAtMostEveryMs) {
    return;
  }
  worker.renewed_at = now;
  const std::uint64_t now_s = wall_seconds();
  auto access = issuer_.broker_access(worker.holder, worker.hello->broker_key, now_s);
  if (!access) {
    return;
  }
  ipc::Renewed renewed;
  renewed.certificate = issuer_.worker_certificate(worker.holder, worker.hello->channel_key,
                                                   worker.hello->signing_key, now_s);
  renewed.broker = std::move(*access);
  send(worker, renewed);
}

// ---- answers, wake-ups, logs

void WorkerPool::on_answer(Worker& worker, ipc::Answer answer) {
  const auto info = registry_.answer(monotonic_ms(), worker.holder.generation, answer.request);
  if (!info) {
    return;
  }
  outlets_.decided({.user = worker.holder.user,
                    .generation = worker.holder.generation,
                    .operation = info->operation,
                    .key = info->key,
                    .session = info->session,
                    .has_client = info->has_client,
                    .outcome = outcome_of(answer.answer)});
  if (!info->has_client) {
    return;
  }
  if (!answer.key.empty() && !valid_key_name(answer.key)) {
    answer.key.clear();
  }
  AnswerEnvelope envelope;
  envelope.node = config_.node;
  envelope.answer = std::move(answer.answer);
  envelope.origin = issuer_.statement(StatementKind::kAnswer, worker.holder, std::move(answer.key),
                                      answer.epoch, answer.session, answer_digest(envelope.answer));
  outlets_.answer(*info, encode_answer_envelope(envelope));
}

void WorkerPool::on_wake(Worker& worker, ipc::Wake wake) {
  if (wake.node == config_.node ||
      std::ranges::find(config_.peers, wake.node, &ipc::Peer::node) == config_.peers.end()) {
    distrust(worker, "it wanted to wake a node that is no peer");
    return;
  }
  // One for each session and silent peer and second, in bursts: what is more than that is lost, as
  // a wake may be anyway.
  if (wake.envelope.size() > config_.sessions.max_envelope_bytes ||
      !worker.wakes.take(monotonic_ms(), kWakesPerSecond)) {
    return;
  }
  ipc::PublishWake publish;
  publish.node = std::move(wake.node);
  publish.envelope = std::move(wake.envelope);
  outlets_.wake(std::move(publish));
}

void WorkerPool::on_log(Worker& worker, const ipc::Log& line) {
  if (!worker.log_lines.take(monotonic_ms(), kLogLinesPerSecond)) {
    return;
  }
  log_about(about(worker.holder.user, worker.holder.generation, line.session),
            log_level(line.level), "{}", line.message);
}

void WorkerPool::on_presignatures(Worker& worker, ipc::PresignatureStock stock) {
  if (!valid_key_name(stock.key)) {
    return;
  }
  if (stock.held == 0) {
    worker.presignatures.erase(stock.key);
  } else if (worker.presignatures.size() < kKeysWithPresignatures ||
             worker.presignatures.contains(stock.key)) {
    const std::string key = stock.key;
    worker.presignatures.insert_or_assign(key, std::move(stock));
  }
}

void WorkerPool::on_metrics(Worker& worker, const ipc::WorkerMetrics& metrics) {
  if (!metrics_.absorb(metrics)) {
    distrust(worker, "it counted what there is not");
  }
}

void WorkerPool::note_stored(StoreOperation operation, std::int64_t ordered_us) {
  metrics_.stored(operation, static_cast<std::uint64_t>(monotonic_us() - ordered_us));
}

// ---- the store

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

void WorkerPool::on_store_refusal(Worker& worker, ipc::StoreRefusal order) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  if (!valid_key_name(order.key)) {
    confirm(generation, order.order, fail(ErrorCode::kBadRequest, "this is no key name"), {});
    return;
  }
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, order](Store& store) { return store.refuse(user, order); },
      [this, user, generation, order](const Expected<void>& done) {
        ByteVector statement;
        if (done) {
          statement = encode_statement(issuer_.statement(StatementKind::kKeyRefusal,
                                                         {user, generation}, order.key, order.epoch,
                                                         order.session, order.digest));
        }
        confirm(generation, order.order, done, std::move(statement));
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
      [this, generation, number, ordered = monotonic_us()](const Expected<void>& done) {
        note_stored(StoreOperation::kResult, ordered);
        if (!done && number == 0) {
          spdlog::warn("a result was not stored: {}", done.error().message);
        }
        confirm(generation, number, done, {});
      });
}

void WorkerPool::on_lookup(Worker& worker, ipc::ResultLookup lookup) {
  const std::string user = worker.holder.user;
  const std::uint64_t generation = worker.holder.generation;
  const std::uint64_t number = lookup.order;
  submit_for(
      worker, StoreThread::Urgency::kNow, 0,
      [user, lookup = std::move(lookup)](Store& store) { return store.find_result(user, lookup); },
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
