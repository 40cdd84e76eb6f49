// How a worker ends: its process, its socket, its crash record, and what the registry is told. Both
// process and socket must be over before it is finished, in whatever order they end.

#include <csignal>

#include "ipc/worker_exit.h"
#include "supervisor/log/log.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

/// After a process is gone its socket ends at once, unless somebody holds a copy of it.
constexpr std::uint64_t kSocketGraceMs = 1000;

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

ExitCause exit_cause(const ExitStatus& status) {
  if (status.signalled) {
    return {.kind = ExitKind::kSignal, .value = status.code, .crash = {}};
  }
  if (status.code == ipc::kExitOutOfMemory) {
    return {.kind = ExitKind::kOutOfMemory, .value = status.code, .crash = {}};
  }
  return {.kind = ExitKind::kExited, .value = status.code, .crash = {}};
}

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
  const std::string user = worker.holder.user;
  const bool clean = worker.exit->clean();
  bury(generation);
  registry_.exited(monotonic_ms(), generation, cause);
  verifier_over(user, generation, clean);
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
