// The life of a user's worker: it begins, brings in what the broker has, takes out what the engine
// wants once per turn of the loop, beats while there is work, and leaves.

#include "worker/user/user_worker.h"

#include <chrono>
#include <stdexcept>
#include <variant>

#include "crypto/base/seal.h"
#include "worker/fault_point.h"
#include "worker/session/results.h"
#include "worker/user/user_worker_impl.h"

namespace cosigner::worker {
namespace {

/// A supervisor that stalls for less costs no check, and so no signature; it is the only one this
/// process could talk to meanwhile.
constexpr std::chrono::milliseconds kSupervisorPatience{250};

/// Idle for so long, a worker gives back what its last work took; a client that signs one by one
/// asks again sooner, and would pay for the pages each time.
constexpr std::uint64_t kRestMs = 1000;
/// Then once more, when the results of that work are old enough to be forgotten.
constexpr std::uint64_t kForgetMs = Results::kKeepFinishedUs / 1000 + 1000;

}  // namespace

template <class Handle>
void UserWorker::init_handle(int status, Handle& handle) {
  if (status != 0) {
    ::_exit(ipc::kExitSoftware);
  }
  handle.data = this;
}

UserWorker::UserWorker(int socket, std::uint64_t generation) : generation_(generation) {
  uv_loop_init(&loop_);
  init_handle(uv_timer_init(&loop_, &session_timer_), session_timer_);
  init_handle(uv_timer_init(&loop_, &heartbeat_timer_), heartbeat_timer_);
  init_handle(uv_timer_init(&loop_, &drain_timer_), drain_timer_);
  init_handle(uv_timer_init(&loop_, &rest_timer_), rest_timer_);
  init_handle(uv_prepare_init(&loop_, &prepare_), prepare_);
  init_handle(uv_check_init(&loop_, &check_), check_);
  // Effects are taken once per turn of the loop, after all input of that turn: what goes to one
  // peer then travels in one packet. Timers run before `prepare`, sockets before `check`.
  uv_prepare_start(&prepare_, [](uv_prepare_t* handle) { self(handle).turn_end(); });
  uv_check_start(&check_, [](uv_check_t* handle) { self(handle).turn_end(); });

  auto channel = ipc::FrameChannel::open(
      &loop_, ipc::UniqueFd(socket),
      {.on_frame = [this](const ipc::Frame& frame) { on_frame(frame); },
       .on_close = [this](ipc::CloseReason reason, std::string_view) { on_channel_end(reason); },
       .on_exception = {}});
  if (!channel) {
    ::_exit(ipc::kExitSoftware);
  }
  channel_ = std::move(*channel);
  channel_->set_generation(generation_);
  channel_->set_patience(kSupervisorPatience);
}

int UserWorker::run() {
  SystemRandom random;
  WorkerKeys keys{.channel = random.secret<32>(), .signing = ed25519_generate(random)};
  broker_key_ = ed25519_generate(random);
  COSIGNER_FAULT_POINT("worker.hello");
  send(ipc::WorkerHello{.channel_key = x25519_public_key(keys.channel),
                        .signing_key = ed25519_public_key(keys.signing),
                        .broker_key = ed25519_public_key(broker_key_)});
  keys_ = std::move(keys);
  uv_run(&loop_, UV_RUN_DEFAULT);
  return ipc::kExitClean;
}

Now UserWorker::now() {
  uv_timeval64_t wall{};
  uv_gettimeofday(&wall);
  return {.monotonic_us = static_cast<std::int64_t>(uv_hrtime() / 1000),
          .wall_ms = wall.tv_sec * 1000 + wall.tv_usec / 1000};
}

// ---- the broker

void UserWorker::on_message(const BrokerMessage& message) {
  if (phase_ == Phase::kLeaving) {
    return;  // unacknowledged, so its sender repeats it and wakes the next worker
  }
  const auto incoming = subjects_->parse(message.subject);
  if (!incoming || incoming->missed_packet.has_value() != message.no_responders) {
    return;
  }
  if (incoming->missed_packet) {
    input("no responders",
          [&] { engine_->on_no_responders(now(), incoming->node, *incoming->missed_packet); });
  } else {
    input("packet", [&] {
      COSIGNER_FAULT_POINT("message.received");
      engine_->on_packet(now(), incoming->node, message.payload);
      COSIGNER_FAULT_POINT("message.handled");
    });
  }
}

void UserWorker::on_broker_state(const BrokerStateChange& change) {
  switch (change.state) {
    case BrokerState::kSubscribed:
      if (phase_ == Phase::kStarting) {
        phase_ = Phase::kReady;
        begin_rest();
        COSIGNER_FAULT_POINT("worker.ready");
        send(ipc::WorkerReady{.threads = threads_->count()});
        threads_.reset();
      } else {
        log(ipc::LogLevel::kInfo, "the broker is back");
      }
      break;
    case BrokerState::kDisconnected:
      log(ipc::LogLevel::kWarning, "the broker is away: " + change.detail);
      break;
    case BrokerState::kClosed:
      channel_->shutdown();  // on_channel_end() follows once everything is written
  }
}

void UserWorker::on_broker_problem(const BrokerProblem& problem) {
  log(ipc::LogLevel::kWarning,
      "broker: " + problem.detail +
          (problem.count > 1 ? " (" + std::to_string(problem.count) + " messages)" : ""));
}

// ---- the turns of the loop

void UserWorker::turn_end() {
  if (!dirty_ || !engine_) {
    return;
  }
  input("effects", [&] {
    for (Effect& effect : engine_->take_effects()) {
      std::visit([this](auto& wanted) { apply(std::move(wanted)); }, effect);
    }
  });
  dirty_ = false;
  arm_session_timer();
  beat();
  if (phase_ == Phase::kDraining && waiting_.empty() && engine_->idle()) {
    leave();
  }
}

void UserWorker::arm_session_timer() {
  const auto deadline = engine_->next_deadline();
  if (!deadline) {
    uv_timer_stop(&session_timer_);
    return;
  }
  uv_update_time(&loop_);
  const std::int64_t wait_us = *deadline - now().monotonic_us;
  const auto wait_ms = wait_us <= 0 ? 0U : static_cast<std::uint64_t>((wait_us + 999) / 1000);
  uv_timer_start(
      &session_timer_,
      [](uv_timer_t* handle) {
        UserWorker& worker = self(handle);
        worker.input("timer", [&] {
          COSIGNER_FAULT_POINT("timer");
          worker.engine_->on_timer(now());
        });
      },
      wait_ms, 0);
}

// Heartbeats while there is work, and one zero when there is none any more: an idle worker wakes
// up for nothing.
void UserWorker::beat() {
  const bool busy = !waiting_.empty() || engine_->sessions() > 0;
  if (busy) {
    worked_at_us_ = now().monotonic_us;
    uv_timer_stop(&rest_timer_);
  }
  if (busy && !beating_) {
    uv_timer_start(
        &heartbeat_timer_, [](uv_timer_t* handle) { self(handle).send_heartbeat(); }, heartbeat_ms_,
        heartbeat_ms_);
  } else if (!busy && beating_) {
    uv_timer_stop(&heartbeat_timer_);
    send_heartbeat();
    begin_rest();
  } else if (!busy && engine_->counted() &&
             uv_is_active(reinterpret_cast<uv_handle_t*>(&heartbeat_timer_)) == 0) {
    // Over as soon as it had begun: a request that was refused at once.
    uv_timer_start(
        &heartbeat_timer_, [](uv_timer_t* handle) { self(handle).send_heartbeat(); }, heartbeat_ms_,
        0);
  }
  beating_ = busy;
}

// Ticks come once a minute, and what a worker holds meanwhile counts for each of thousands. Two
// turns of an idle worker for each time it has worked.
void UserWorker::begin_rest() {
  uv_timer_start(
      &rest_timer_,
      [](uv_timer_t* handle) {
        self(handle).forget_and_give_back();
        uv_timer_start(
            handle, [](uv_timer_t* again) { self(again).forget_and_give_back(); }, kForgetMs, 0);
      },
      kRestMs, 0);
}

// Metrics ride along: a worker that has done something beats at least once more.
void UserWorker::send_metrics() {
  if (const auto metrics = engine_ ? engine_->take_metrics() : std::nullopt) {
    send(*metrics);
  }
}

void UserWorker::send_heartbeat() {
  send_metrics();
  send(ipc::Heartbeat{.in_flight = static_cast<std::uint32_t>(waiting_.size()),
                      .sessions = engine_->sessions()});
}

// ---- what the engine wants done

void UserWorker::apply(Publish wanted) {
  COSIGNER_FAULT_POINT("message.sending");
  if (!broker_->publish({.subject = subjects_->packet_to(wanted.node),
                         .reply = subjects_->no_responders(wanted.node, wanted.packet),
                         .payload = std::move(wanted.payload)})) {
    engine_->on_publish_refused();
  }
  COSIGNER_FAULT_POINT("message.sent");
}

void UserWorker::apply(const ipc::Answer& answer) {
  if (waiting_.erase(answer.request) == 0) {
    log(ipc::LogLevel::kError, "a second answer to one request was held back");
    return;
  }
  COSIGNER_FAULT_POINT("answer.sending");
  send(answer);
  COSIGNER_FAULT_POINT("answer.sent");
}

void UserWorker::apply(const ipc::StorePending& order) {
  COSIGNER_FAULT_POINT("store.pending");
  send(order);
  COSIGNER_FAULT_POINT("store.pending-sent");
}

void UserWorker::apply(const ipc::StoreActivate& order) {
  COSIGNER_FAULT_POINT("store.activate");
  send(order);
  COSIGNER_FAULT_POINT("store.activate-sent");
}

void UserWorker::apply(const ipc::StoreResult& order) {
  COSIGNER_FAULT_POINT("store.result");
  send(order);
}

void UserWorker::checking(const std::string& key, std::uint64_t epoch, const std::string& peer) {
  const ipc::Checking notice{.key = key, .epoch = epoch, .peer = peer};
  if (channel_->send(notice) == ipc::SendStatus::kSent) {
    return;
  }
  // The supervisor has not read for kSupervisorPatience: what it cannot know of is not begun.
  send(ipc::Checked{.key = key, .epoch = epoch, .peer = peer});
  throw std::runtime_error("no check can be announced: the supervisor does not read");
}

void UserWorker::checked(const std::string& key, std::uint64_t epoch, const std::string& peer) {
  send(ipc::Checked{.key = key, .epoch = epoch, .peer = peer});
}

void UserWorker::log(ipc::LogLevel level, std::string message, std::string session) {
  const auto held = log_limit_.admit(now().monotonic_us);
  if (!held) {
    return;
  }
  if (*held > 0) {
    message += " (" + std::to_string(*held) + " lines before this one were held back)";
  }
  send(ipc::Log{.level = level, .message = std::move(message), .session = std::move(session)});
}

// Nothing runs any more: what is queued for the broker goes out, then the process ends.
void UserWorker::leave() {
  if (phase_ == Phase::kLeaving) {
    return;
  }
  phase_ = Phase::kLeaving;
  send_metrics();
  uv_timer_stop(&session_timer_);
  uv_timer_stop(&heartbeat_timer_);
  uv_timer_stop(&drain_timer_);
  uv_timer_stop(&rest_timer_);
  if (!broker_) {
    leave_now(ipc::kExitClean);
  }
  broker_->close();
}

int run_user_worker(int socket, std::uint64_t generation) {
  return UserWorker(socket, generation).run();
}

}  // namespace cosigner::worker
