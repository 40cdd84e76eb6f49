#include "supervisor/service/worker_pool.h"

#include <algorithm>
#include <utility>

#include "supervisor/log/log.h"

namespace cosigner::supervisor {
namespace {

constexpr std::int64_t kPulseMs = 500;
/// A pulse that comes later than this means that nothing was read meanwhile: libuv runs timers
/// before it reads, so silence would be judged with the signs of life lying in the sockets. Less
/// than the least unresponsive_s (1 s) with a pulse's time to spare.
constexpr std::int64_t kPauseMs = 400;
constexpr std::int64_t kPauseToldMs = 2000;

}  // namespace

RegistryLimits registry_limits(const WorkerLimits& workers) {
  return {.max_workers = workers.max_workers,
          .mailbox_entries = workers.mailbox_entries,
          .mailbox_bytes = workers.mailbox_bytes,
          .total_mailbox_bytes = workers.total_mailbox_bytes,
          .starting_at_once = workers.starting_at_once,
          .spawns_per_second = workers.spawns_per_second,
          .idle_timeout_ms = std::int64_t{workers.idle_timeout_s} * 1000,
          .start_timeout_ms = std::int64_t{workers.start_timeout_s} * 1000,
          .unresponsive_ms = std::int64_t{workers.unresponsive_s} * 1000,
          .quarantine_ms = std::int64_t{workers.quarantine_s} * 1000,
          .budget = {.max_restarts = workers.max_restarts,
                     .window_ms = std::int64_t{workers.restart_window_s} * 1000,
                     .backoff_first_ms = workers.backoff_first_ms,
                     .backoff_cap_ms = workers.backoff_cap_ms}};
}

WorkerPool::WorkerPool(uv_loop_t* loop, const Config& config, const Issuer& issuer,
                       StoreThread& store, ProcessTree& tree, NodeMetrics& metrics, Random& random,
                       Outlets outlets)
    : loop_(loop),
      config_(config),
      issuer_(issuer),
      store_(store),
      tree_(tree),
      metrics_(metrics),
      outlets_(std::move(outlets)),
      registry_(registry_limits(config.workers), random),
      timer_(loop,
             [this] {
               armed_for_.reset();
               notice_pause();
               registry_.on_timer(monotonic_ms());
               pump();
             }),
      burial_(loop, [this] { graveyard_.clear(); }),
      pulse_(loop,
             [this] {
               notice_pause();
               expire_verifications();
             }),
      pulse_at_(monotonic_ms()) {
  pulse_.start(kPulseMs, kPulseMs);
  pump();
}

WorkerPool::~WorkerPool() = default;

// ---- inputs

void WorkerPool::request(const std::string& user, RequestInfo info, ByteVector envelope) {
  info.arrived_us = monotonic_us();
  registry_.request(monotonic_ms(), user, std::move(info), std::move(envelope));
  pump();
}

void WorkerPool::broadcast(const ipc::Presence& presence) {
  for (const auto& [generation, worker] : workers_) {
    if (!worker->started || worker->socket_over) {
      continue;
    }
    if (worker->presence_owed || worker->channel->queued_bytes() > 0) {
      worker->presence_owed = true;
    } else {
      send(*worker, presence);
    }
  }
  pump();
}

void WorkerPool::reconfigure(const ipc::Reconfigured& change) {
  registry_.set_limits(monotonic_ms(), registry_limits(config_.workers));
  for (const auto& [generation, worker] : workers_) {
    if (worker->started) {
      send(*worker, change);
    }
  }
  pump();
}

void WorkerPool::send_owed_presence(Worker& worker) {
  if (!worker.presence_owed || worker.socket_over || worker.channel->queued_bytes() > 0) {
    return;
  }
  worker.presence_owed = false;
  const std::vector<std::string> present = outlets_.present();
  for (const ipc::Peer& peer : config_.peers) {
    if (peer.node != config_.node) {
      ipc::Presence presence;
      presence.node = peer.node;
      presence.present = std::ranges::find(present, peer.node) != present.end();
      send(worker, presence);
    }
  }
}

void WorkerPool::tick() {
  ipc::Tick tick;
  tick.number = ++ticks_;
  for (const auto& [generation, worker] : workers_) {
    if (!worker->started || worker->socket_over) {
      continue;
    }
    if (worker->channel->queued_bytes() > 0) {
      ++ticks_dropped_;  // a nudge is not worth a queue
    } else {
      send_owed_presence(*worker);
      send(*worker, tick);
    }
  }
  pump();
}

std::size_t WorkerPool::relieve(std::size_t count) {
  const std::size_t asked = registry_.relieve(monotonic_ms(), count);
  pump();
  return asked;
}

void WorkerPool::drain(std::int64_t deadline_ms) {
  registry_.drain(monotonic_ms(), deadline_ms);
  pump();
}

std::optional<std::uint64_t> WorkerPool::take_generation() {
  auto generation = registry_.take_generation(monotonic_ms());
  pump();
  return generation;
}

Expected<void> WorkerPool::evict(const std::string& user) {
  auto outcome = registry_.evict(monotonic_ms(), user);
  pump();
  return outcome;
}

Expected<void> WorkerPool::restart(const std::string& user) {
  auto outcome = registry_.restart(monotonic_ms(), user);
  pump();
  return outcome;
}

void WorkerPool::quarantine(const std::string& user) {
  registry_.quarantine(monotonic_ms(), user);
  pump();
}

Expected<void> WorkerPool::clear(const std::string& user) {
  auto outcome = registry_.clear(monotonic_ms(), user);
  pump();
  return outcome;
}

pid_t WorkerPool::pid_of(std::uint64_t generation) const {
  const auto found = workers_.find(generation);
  return found == workers_.end() ? 0 : found->second->pid;
}

std::uint32_t WorkerPool::threads_of(std::uint64_t generation) const {
  const auto found = workers_.find(generation);
  return found == workers_.end() ? 0 : found->second->threads;
}

std::optional<std::uint64_t> WorkerPool::ready_after_us(std::uint64_t generation) const {
  const auto found = workers_.find(generation);
  return found == workers_.end() ? std::nullopt : found->second->ready_after_us;
}

const WorkerPool::PresignatureStocks& WorkerPool::presignatures_of(std::uint64_t generation) const {
  static const PresignatureStocks kNone;
  const auto found = workers_.find(generation);
  return found == workers_.end() ? kNone : found->second->presignatures;
}

std::optional<ipc::Sandboxed> WorkerPool::sandboxed(std::uint64_t generation) const {
  const auto found = workers_.find(generation);
  return found == workers_.end() ? std::nullopt : found->second->sandboxed;
}

std::uint64_t WorkerPool::presignatures() const {
  std::uint64_t held = 0;
  for (const auto& [generation, worker] : workers_) {
    for (const auto& [key, stock] : worker->presignatures) {
      held += stock.held;
    }
  }
  return held;
}

std::vector<pid_t> WorkerPool::pids() const {
  std::vector<pid_t> out;
  out.reserve(workers_.size());
  for (const auto& [generation, worker] : workers_) {
    if (worker->pid > 0) {
      out.push_back(worker->pid);
    }
  }
  return out;
}

WorkerPool::Worker* WorkerPool::find(std::uint64_t generation) {
  const auto found = workers_.find(generation);
  return found == workers_.end() ? nullptr : found->second.get();
}

void WorkerPool::notice_pause() {
  const std::int64_t now = monotonic_ms();
  const std::int64_t late = now - std::exchange(pulse_at_, now) - kPulseMs;
  if (late > kPauseMs) {
    if (late > kPauseToldMs) {
      spdlog::warn("this process did not run for {} ms", late);
    }
    registry_.paused(now, late);
  }
}

// ---- the registry

void WorkerPool::pump() {
  if (pumping_) {
    return;  // whoever pumps sees the new actions too
  }
  pumping_ = true;
  while (registry_.has_actions()) {
    registry_.take_actions(actions_);
    for (Action& wanted : actions_) {
      std::visit([this](auto& action) { perform(action); }, wanted);
    }
  }
  pumping_ = false;
  arm();
  // Here, and not where a worker ends: one whose fork came to nothing was a worker too.
  if (registry_.draining() && workers_.empty() && !std::exchange(empty_told_, true)) {
    outlets_.on_empty();
  }
}

void WorkerPool::arm() {
  const auto deadline = registry_.next_deadline();
  if (deadline == armed_for_) {
    return;
  }
  armed_for_ = deadline;
  if (deadline) {
    timer_.start(static_cast<std::uint64_t>(std::max<std::int64_t>(0, *deadline - monotonic_ms())));
  } else {
    timer_.stop();
  }
}

}  // namespace cosigner::supervisor
