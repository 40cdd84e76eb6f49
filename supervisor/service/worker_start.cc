// How a worker is started: it has said hello and its keys are loaded, they go to it part by part,
// and the last part comes with everything else it must know. Also the later hours of its
// certificate.

#include "ipc/start_keys.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

constexpr std::int64_t kRenewAtMostEveryMs = 1000;

}  // namespace

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
  verify_next(worker);
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

}  // namespace cosigner::supervisor
