#include "supervisor/service/worker_pool.h"

#include <sys/socket.h>

#include <csignal>

#include "ipc/answer.h"
#include "ipc/seqpacket.h"
#include "supervisor/log/log.h"

namespace cosigner::supervisor {
namespace {

/// Generations reserved at a time: one durable write for as many forks.
constexpr std::uint64_t kGenerationBlock = 1000;
/// After a process is gone its socket ends at once, unless somebody holds a copy of it.
constexpr std::uint64_t kSocketGraceMs = 1000;
constexpr std::int64_t kPulseMs = 500;
/// A pulse that comes later than this means that nothing was read meanwhile: libuv runs timers
/// before it reads, so silence would be judged with the signs of life lying in the sockets. Less
/// than the least unresponsive_s (1 s) with a pulse's time to spare.
constexpr std::int64_t kPauseMs = 400;
constexpr std::int64_t kPauseToldMs = 2000;
/// worker/exit_status.h: an allocation failed.
constexpr int kExitOutOfMemory = 72;

bool suspicious(const ExitStatus& status) {
  if (!status.signalled) {
    return false;
  }
  switch (status.code) {
    case SIGSEGV:
    case SIGBUS:
    case SIGILL:
    case SIGABRT:
    case SIGSYS:
      return true;
    default:
      return false;
  }
}

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

ExitCause exit_cause(const ExitStatus& status) {
  if (status.signalled) {
    return {.kind = ExitKind::kSignal, .value = status.code, .crash = {}};
  }
  if (status.code == kExitOutOfMemory) {
    return {.kind = ExitKind::kOutOfMemory, .value = status.code, .crash = {}};
  }
  return {.kind = ExitKind::kExited, .value = status.code, .crash = {}};
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
      pulse_(loop, [this] { notice_pause(); }),
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

// ---- actions

void WorkerPool::pump() {
  if (pumping_) {
    return;  // whoever pumps sees the new actions too
  }
  pumping_ = true;
  while (registry_.has_actions()) {
    for (Action& wanted : registry_.take_actions()) {
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

void WorkerPool::perform(action::ReserveGenerations&) {
  store_.submit(
      StoreThread::Urgency::kNow,
      [](Store& store) { return store.reserve_generations(kGenerationBlock); },
      [this](const Expected<std::uint64_t>& first) {
        if (!first) {
          spdlog::error("no generations could be reserved: {}", first.error().message);
        }
        registry_.generations_reserved(monotonic_ms(), first.value_or(0),
                                       first ? kGenerationBlock : 0);
        pump();
      });
}

void WorkerPool::perform(action::Fork& fork) {
  const std::uint64_t generation = fork.generation;
  auto pair = ipc::socket_pair(SOCK_STREAM);
  auto crash_pipe = CrashPipe::open();
  if (!pair || !crash_pipe) {
    registry_.fork_failed(monotonic_ms(), generation,
                          pair ? crash_pipe.error().message : pair.error().message);
    return;
  }
  auto worker = std::make_unique<Worker>(fork.user, generation);
  worker->ordered_us = monotonic_us();
  ipc::FrameChannel::Handlers handlers;
  handlers.on_frame = [this, raw = worker.get()](const ipc::Frame& frame) {
    on_frame(*raw, frame);
  };
  handlers.on_close = [this, generation](ipc::CloseReason reason, std::string_view detail) {
    socket_ended(generation, reason, detail);
  };
  auto channel = ipc::FrameChannel::open(loop_, std::move(pair->first), std::move(handlers));
  if (!channel) {
    registry_.fork_failed(monotonic_ms(), generation, channel.error().message);
    return;
  }
  worker->channel = std::move(*channel);
  worker->channel->set_generation(generation);
  worker->crash_pipe = std::move(*crash_pipe);
  Zygote::Ends ends{std::move(pair->second), worker->crash_pipe.take_writer()};
  workers_.emplace(generation, std::move(worker));
  load(fork.user, generation);  // while the process comes up
  if (cgroups_) {
    if (const auto made = cgroups_->make(generation); !made) {
      spdlog::error("user={} generation={}: runs without a cgroup of its own: {}", fork.user,
                    generation, made.error().message);
    }
  }
  tree_.fork(
      ipc::Role::kWorker, fork.user, generation, std::move(ends),
      [this, generation](pid_t pid, const std::string& error) { forked(generation, pid, error); });
}

void WorkerPool::forked(std::uint64_t generation, pid_t pid, const std::string& error) {
  Worker* worker = find(generation);
  if (worker == nullptr) {
    return;
  }
  worker->forking = false;
  if (pid > 0) {
    auto process = ChildProcess::watch(
        loop_, pid, [this, generation](ExitStatus status) { exited(generation, status); });
    if (process) {
      worker->pid = pid;
      worker->process = std::move(*process);
      tree_.know(pid);
      if (worker->kill_when_forked) {
        worker->process->kill(SIGKILL);
      }
      return;
    }
    log_about(about(worker->holder.user, generation), spdlog::level::err, "{}",
              process.error().message);
    reap_child(pid);
  } else {
    log_about(about(worker->holder.user, generation), spdlog::level::warn, "fork failed: {}",
              error);
  }
  if (cgroups_) {
    cgroups_->leave(generation);
  }
  bury(generation);
  registry_.fork_failed(monotonic_ms(), generation, error);
  pump();
}

void WorkerPool::perform(action::Deliver& deliver) {
  if (Worker* worker = find(deliver.generation)) {
    ipc::Work work;
    work.request = deliver.number;
    work.envelope = std::move(deliver.envelope);
    send(*worker, work);
    metrics_.waited(static_cast<std::uint64_t>(monotonic_us() - deliver.arrived_us));
  }
}

void WorkerPool::perform(action::Kill& kill) {
  if (Worker* worker = find(kill.generation)) {
    if (worker->process) {
      worker->process->kill(SIGKILL);
    } else {
      worker->kill_when_forked = true;
    }
  }
}

void WorkerPool::perform(action::AskEvict& ask) {
  if (Worker* worker = find(ask.generation)) {
    ipc::EvictAsk message;
    message.ask = ask.ask;
    send(*worker, message);
  }
}

void WorkerPool::perform(action::Drain& drain) {
  if (Worker* worker = find(drain.generation)) {
    ipc::Drain message;
    message.deadline_ms = static_cast<std::uint32_t>(drain.deadline_ms);
    send(*worker, message);
  }
}

void WorkerPool::perform(action::Fail& fail) {
  metrics_.answered(fail.info.operation, error_name(fail.error.code));
  outlets_.decided({.user = fail.user,
                    .generation = fail.generation,
                    .operation = fail.info.operation,
                    .key = fail.info.key,
                    .session = fail.info.session,
                    .outcome = error_name(fail.error.code)});
  RequestAnswer answer{.session = fail.info.session,
                       .operation = fail.info.operation,
                       .user = fail.user,
                       .key = fail.info.key,
                       .content = std::move(fail.error)};
  AnswerEnvelope envelope;
  envelope.node = config_.node;
  envelope.answer = encode_answer(answer);
  envelope.origin =
      issuer_.statement(StatementKind::kAnswer, {fail.user, fail.generation}, fail.info.key, 0,
                        fail.info.session, answer_digest(envelope.answer));
  outlets_.answer(fail.info, encode_answer_envelope(envelope));
}

void WorkerPool::perform(action::Changed& change) {
  outlets_.on_change(change);
  if (change.to == UserState::kAbsent || change.to == UserState::kBackoff ||
      change.to == UserState::kQuarantined || change.to == UserState::kStarting) {
    outlets_.on_evicted(change.user, std::nullopt);  // its old process is gone, whatever the reason
  }
}

void WorkerPool::perform(action::EvictDeclined& declined) {
  outlets_.on_evicted(declined.user,
                      Error{.code = ErrorCode::kConflict,
                            .message = "User '" + declined.user + "' has work in flight and stays.",
                            .retryable = true,
                            .peer = {},
                            .peer_reason = {}});
}

// ---- endings

void WorkerPool::distrust(Worker& worker, std::string_view why) {
  log_about(about(worker.holder.user, worker.holder.generation), spdlog::level::warn, "killed: {}",
            why);
  registry_.socket_closed(monotonic_ms(), worker.holder.generation);
  // A worker that was told to go counts as gone on its own; make sure of it.
  if (worker.process) {
    worker.process->kill(SIGKILL);
  }
}

void WorkerPool::socket_ended(std::uint64_t generation, ipc::CloseReason reason,
                              std::string_view detail) {
  Worker* worker = find(generation);
  if (worker == nullptr) {
    return;
  }
  worker->socket_over = true;
  if (reason == ipc::CloseReason::kProtocol) {
    distrust(*worker, detail);
  }
  if (!worker->exit) {
    // It closes its socket by ending; what else it may be up to, it is of no use any more.
    registry_.socket_closed(monotonic_ms(), generation);
  }
  finish_if_over(*worker);
  pump();
}

void WorkerPool::exited(std::uint64_t generation, ExitStatus status) {
  Worker* worker = find(generation);
  if (worker == nullptr) {
    return;
  }
  tree_.forget(worker->pid);
  worker->exit = status;
  if (suspicious(status)) {
    tree_.note_bad_death();
  }
  finish_if_over(*worker);
  pump();
}

void WorkerPool::finish_if_over(Worker& worker) {
  if (!worker.exit) {
    return;
  }
  if (worker.socket_over) {
    finish(worker);
    return;
  }
  // Its last frames may still be in the socket.
  const std::uint64_t generation = worker.holder.generation;
  worker.exit_grace.emplace(loop_, [this, generation] {
    if (Worker* found = find(generation)) {
      finish(*found);
      pump();
    }
  });
  worker.exit_grace->start(kSocketGraceMs);
}

void WorkerPool::finish(Worker& worker) {
  const std::uint64_t generation = worker.holder.generation;
  ExitCause cause = exit_cause(*worker.exit);
  settle_checks(worker);
  if (cgroups_) {
    if (cause.kind == ExitKind::kSignal && cause.value == SIGKILL &&
        cgroups_->ran_out_of_memory(generation)) {
      cause = {.kind = ExitKind::kOutOfMemory, .value = SIGKILL, .crash = {}};
    }
    cgroups_->leave(generation);
  }
  if (!worker.exit->clean()) {
    log_about(about(worker.holder.user, generation), spdlog::level::warn, "{}", cause.text());
    if (const auto record = worker.crash_pipe.read()) {
      cause.crash = record->text();
      cause.request = record->request;
      const std::string session = record->session == SessionId{} ? "" : to_hex(record->session);
      log_about(about(worker.holder.user, generation, session), spdlog::level::warn,
                "crash record: {}", cause.crash);
      outlets_.on_crash(worker.holder.user, generation, cause.crash);
    }
  }
  bury(generation);
  registry_.exited(monotonic_ms(), generation, cause);
}

void WorkerPool::bury(std::uint64_t generation) {
  const auto found = workers_.find(generation);
  if (found == workers_.end()) {
    return;
  }
  found->second->socket_over = true;
  if (found->second->channel) {
    stray_frames_ += found->second->channel->stray_frames();
  }
  graveyard_.push_back(std::move(found->second));
  workers_.erase(found);
  burial_.start(0);
}

}  // namespace cosigner::supervisor
