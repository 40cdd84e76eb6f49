// What workers say. User and generation are those of the socket; what a frame claims about itself
// concerns that one user and nobody else. Their starts are in worker_start.cc, their orders at the
// store in worker_store.cc.

#include "ipc/answer.h"
#include "ipc/names.h"
#include "supervisor/log/log.h"
#include "supervisor/service/per_second.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

constexpr std::uint32_t kWakesPerSecond = 500;
/// Several times what one user's worker signs with.
constexpr std::uint32_t kPresignatureLinesPerSecond = 5000;
/// How many keys' stocks are remembered of one worker.
constexpr std::size_t kKeysWithPresignatures = 1024;

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
          worker.ready_after_us = static_cast<std::uint64_t>(monotonic_us() - worker.ordered_us);
          metrics_.spawned(*worker.ready_after_us);
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
      with<ipc::StoreRefusal>(worker, frame, [&](auto& order) { on_store_refusal(worker, order); });
      break;
    case Type::kStoreResult:
      with<ipc::StoreResult>(worker, frame,
                             [&](auto& result) { on_store_result(worker, std::move(result)); });
      break;
    case Type::kResultLookup:
      with<ipc::ResultLookup>(worker, frame, [&](auto& lookup) { on_lookup(worker, lookup); });
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
    case Type::kPresignatureUsed:
      with<ipc::PresignatureUsed>(worker, frame,
                                  [&](auto& used) { on_presignature_used(worker, used); });
      break;
    case Type::kKeyVerified:
      with<ipc::KeyVerified>(worker, frame, [&](auto& said) { on_key_verified(worker, said); });
      break;
    default:
      distrust(worker, "it sent a frame of a type that no worker sends");
  }
  pump();
}

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
                    .outcome = answer_outcome(answer.answer)});
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
            spdlog_level(line.level), "{}", line.message);
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

// Not among the lines that a worker may have logged in a second: at a busy user's rate it would use
// them up, and a trace with gaps proves nothing.
void WorkerPool::on_presignature_used(Worker& worker, const ipc::PresignatureUsed& used) {
  if (!spdlog::should_log(spdlog::level::debug) || !valid_key_name(used.key) ||
      !worker.presignature_lines.take(monotonic_ms(), kPresignatureLinesPerSecond)) {
    return;
  }
  LogFields fields = about(worker.holder.user, worker.holder.generation, to_hex(used.session));
  fields.push_back({"presignature_id", to_hex(used.presignature)});
  log_about(fields, spdlog::level::debug, "presignature of key {} used in attempt {}", used.key,
            used.attempt);
}

void WorkerPool::on_metrics(Worker& worker, const ipc::WorkerMetrics& metrics) {
  if (!metrics_.absorb(metrics)) {
    distrust(worker, "it counted what there is not");
  }
}

}  // namespace cosigner::supervisor
