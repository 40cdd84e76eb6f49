// What the registry wants done: forks, frames to workers, signals, and answers in their stead.

#include <sys/socket.h>

#include <csignal>

#include "ipc/answer.h"
#include "ipc/seqpacket.h"
#include "supervisor/log/log.h"
#include "supervisor/service/clock.h"
#include "supervisor/service/worker_pool.h"

namespace cosigner::supervisor {
namespace {

/// Generations reserved at a time: one durable write for as many forks.
constexpr std::uint64_t kGenerationBlock = 1000;
/// No block begins below the clock's milliseconds times this: a store that is put back from an
/// older copy does not know which numbers were given out since, and peers listen to no number
/// twice. More than forks use up, and the two blocks that a restart may skip are 125 ms of it.
constexpr std::uint64_t kGenerationsPerMs = 16;

}  // namespace

void WorkerPool::perform(action::ReserveGenerations&) {
  store_.submit(
      StoreThread::Urgency::kNow,
      [floor = wall_ms() * kGenerationsPerMs](Store& store) {
        return store.reserve_generations(kGenerationBlock, floor);
      },
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
      log_about(about(fork.user, generation), spdlog::level::err,
                "runs without a cgroup of its own: {}", made.error().message);
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
                      retryable(ErrorCode::kConflict,
                                "User '" + declined.user + "' has work in flight and stays."));
}

}  // namespace cosigner::supervisor
