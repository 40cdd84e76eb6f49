#include "worker/user/user_worker.h"

#include <malloc.h>
#include <unistd.h>
#include <uv.h>

#include <chrono>
#include <exception>
#include <new>
#include <set>
#include <stdexcept>
#include <typeinfo>

#include "crypto/base/seal.h"
#include "crypto/identity/ed25519_key.h"
#include "ipc/answer.h"
#include "ipc/request.h"
#include "ipc/sandboxed.h"
#include "ipc/start_keys.h"
#include "ipc/uv_stream.h"
#include "worker/crash/activity.h"
#include "worker/exit_status.h"
#include "worker/fault_point.h"
#include "worker/nats/broker_connection.h"
#include "worker/process.h"
#include "worker/sandbox/sandbox.h"
#include "worker/session/check_notices.h"
#include "worker/session/engine.h"
#include "worker/user/log_limit.h"
#include "worker/user/subjects.h"
#include "worker/user/throw_trace.h"

namespace cosigner::worker {
namespace {

/// Past the drain deadline the engine has ended its sessions; this long for the last frames.
constexpr std::uint64_t kDrainGraceMs = 200;
/// The engine keeps what is done for three minutes at most, and a tick comes every minute.
constexpr std::int64_t kGiveBackForUs = 300'000'000;
/// A supervisor that stalls for less costs no check, and so no signature; it is the only one this
/// process could talk to meanwhile.
constexpr std::chrono::milliseconds kSupervisorPatience{250};

class UserWorker final : public CheckNotices {
 public:
  UserWorker(int socket, std::uint64_t generation) : generation_(generation) {
    uv_loop_init(&loop_);
    init_handle(uv_timer_init(&loop_, &session_timer_), session_timer_);
    init_handle(uv_timer_init(&loop_, &heartbeat_timer_), heartbeat_timer_);
    init_handle(uv_timer_init(&loop_, &drain_timer_), drain_timer_);
    init_handle(uv_prepare_init(&loop_, &prepare_), prepare_);
    init_handle(uv_check_init(&loop_, &check_), check_);
    // Effects are taken once per turn of the loop, after all input of that turn: what goes to one
    // peer then travels in one packet. Timers run before `prepare`, sockets before `check`.
    uv_prepare_start(&prepare_, [](uv_prepare_t* handle) { self(handle).turn_end(); });
    uv_check_start(&check_, [](uv_check_t* handle) { self(handle).turn_end(); });

    auto channel = ipc::FrameChannel::open(
        &loop_, ipc::UniqueFd(socket),
        {.on_frame = [this](ipc::Frame frame) { on_frame(frame); },
         .on_close = [this](ipc::CloseReason reason, std::string_view) { on_channel_end(reason); },
         .on_exception = {}});
    if (!channel) {
      ::_exit(kExitSoftware);
    }
    channel_ = std::move(*channel);
    channel_->set_generation(generation_);
    channel_->set_patience(kSupervisorPatience);
  }

  int run() {
    SystemRandom random;
    WorkerKeys keys{.channel = random.secret<32>(), .signing = ed25519_generate(random)};
    broker_key_ = ed25519_generate(random);
    COSIGNER_FAULT_POINT("worker.hello");
    send(ipc::WorkerHello{.channel_key = x25519_public_key(keys.channel),
                          .signing_key = ed25519_public_key(keys.signing),
                          .broker_key = ed25519_public_key(broker_key_)});
    keys_ = std::move(keys);
    uv_run(&loop_, UV_RUN_DEFAULT);
    return kExitClean;
  }

 private:
  enum class Phase : std::uint8_t {
    kStarting,  ///< until the broker has acknowledged the subscription
    kReady,
    kDraining,  ///< no new requests; running sessions end
    kLeaving    ///< nothing runs any more; the broker connection is being closed
  };

  template <class Handle>
  static UserWorker& self(Handle* handle) {
    return *static_cast<UserWorker*>(handle->data);
  }
  template <class Handle>
  void init_handle(int status, Handle& handle) {
    if (status != 0) {
      ::_exit(kExitSoftware);
    }
    handle.data = this;
  }

  [[nodiscard]] static Now now() {
    uv_timeval64_t wall{};
    uv_gettimeofday(&wall);
    return {.monotonic_us = static_cast<std::int64_t>(uv_hrtime() / 1000),
            .wall_ms = wall.tv_sec * 1000 + wall.tv_usec / 1000};
  }

  // ---- frames from the supervisor

  void on_frame(const ipc::Frame& frame) {
    using Type = ipc::MessageType;
    switch (frame.type) {
      case Type::kStartKeys:
        return with<ipc::StartKeys>(frame, [this](auto& part) { on_keys(std::move(part)); });
      case Type::kWorkerStart:
        return with<ipc::WorkerStart>(frame, [this](auto& start) { on_start(std::move(start)); });
      case Type::kWork:
        return with<ipc::Work>(frame, [this](auto& work) { on_work(work); });
      case Type::kStored:
        COSIGNER_FAULT_POINT("store.confirmed");
        return to_engine<ipc::Stored>(frame, &SessionEngine::on_stored);
      case Type::kResultFound:
        return to_engine<ipc::ResultFound>(frame, &SessionEngine::on_result_found);
      case Type::kPresence:
        return with<ipc::Presence>(frame, [this](auto& presence) {
          input("presence", [&] { engine_->on_presence(now(), presence.node, presence.present); });
        });
      case Type::kRenewPair:
        return to_engine<ipc::RenewPair>(frame, &SessionEngine::on_renew_pair);
      case Type::kRenewed:
        return with<ipc::Renewed>(frame, [this](auto& renewed) {
          input("renewal", [&] { engine_->on_renewed(now(), renewed); });
          if (broker_) {
            broker_->renew(std::move(renewed.broker));
          }
        });
      case Type::kReconfigured:
        return with<ipc::Reconfigured>(frame, [this](auto& change) {
          heartbeat_ms_ = change.settings.heartbeat_ms;
          input("reconfiguration", [&] { engine_->on_reconfigured(now(), std::move(change)); });
        });
      case Type::kTick:
        return with<ipc::Tick>(frame, [this](auto&) { on_tick(); });
      case Type::kEvictAsk:
        return with<ipc::EvictAsk>(frame, [this](auto& ask) { on_evict(ask); });
      case Type::kDrain:
        return with<ipc::Drain>(frame, [this](auto& drain) { on_drain(drain); });
      default:
        // From a newer supervisor, perhaps: not ours to understand.
        log(3, "a frame of a type that workers do not take was ignored");
    }
  }

  // A frame that does not decode cannot come from a supervisor of this release.
  template <class Message, class F>
  void with(const ipc::Frame& frame, F&& use) {
    auto message = ipc::decode<Message>(frame);
    if (!message) {
      leave_now(kExitSoftware);
    }
    use(*message);
  }
  template <class Message>
  void to_engine(const ipc::Frame& frame, void (SessionEngine::*method)(Now, const Message&)) {
    with<Message>(frame, [&](const Message& message) {
      input("store", [&] { (engine_.get()->*method)(now(), message); });
    });
  }

  void on_keys(ipc::StartKeys part) {
    if (engine_) {
      return;
    }
    for (ipc::StoredKey& key : part.keys) {
      early_bytes_ += ipc::stored_key_bytes(key);
      early_keys_.push_back(std::move(key));
    }
    if (early_bytes_ > ipc::kMaxStartBytes) {
      leave_now(kExitSoftware);  // its supervisor splits by the same bound
    }
    send(ipc::StartKeysTaken{.keys = static_cast<std::uint32_t>(early_keys_.size())});
  }

  void on_start(ipc::WorkerStart start) {
    if (engine_) {
      return;
    }
    COSIGNER_FAULT_POINT("worker.start");
    start.keys.insert(start.keys.begin(), std::make_move_iterator(early_keys_.begin()),
                      std::make_move_iterator(early_keys_.end()));
    early_keys_ = {};
    threads_.emplace();
    const auto sandbox = enter_sandbox(start.broker.url);
    if (!sandbox) {
      log(4, "the sandbox could not be entered: " + sandbox.error().message);
      leave_now(kExitSoftware);
    }
    log(1, sandbox->text());
    send(ipc::Sandboxed{.landlock = sandbox->landlock, .relaxed = sandbox->relaxed});
    heartbeat_ms_ = start.settings.heartbeat_ms;
    subjects_.emplace(start.cluster, start.user, start.node);
    BrokerOptions options{
        .access = std::move(start.broker), .link = {}, .incoming = {}, .outgoing = {}};
    options.link.name = "cosigner worker " + start.node;
    options.link.subjects = {subjects_->subscription()};
    // The engine comes first: when the subscription stands, packets come.
    engine_ = std::make_unique<SessionEngine>(std::move(start), std::move(*keys_), random_, *this,
                                              now(), COSIGNER_FAULT_PROTOCOLS);
    keys_.reset();
    broker_ = std::make_unique<BrokerConnection>(
        &loop_, std::move(options), std::move(broker_key_),
        BrokerConnection::Handlers{
            .on_message = [this](BrokerMessage message) { on_message(message); },
            .on_state = [this](const BrokerStateChange& change) { on_broker_state(change); },
            .on_problem = [this](const BrokerProblem& problem) { on_broker_problem(problem); },
            .on_batch_end = {}});
    dirty_ = true;
  }

  void on_work(const ipc::Work& work) {
    if (phase_ == Phase::kLeaving) {
      return;  // it crossed our agreement to leave: the supervisor gives it to the next worker
    }
    current_activity.begin_request(work.request);
    waiting_.insert(work.request);
    const auto handle = [&] {
      COSIGNER_FAULT_POINT("request.received");
      engine_->on_work(now(), work);
      COSIGNER_FAULT_POINT("request.taken");
    };
    if (!attempt("request", handle) && waiting_.contains(work.request)) {
      answer_handler_failed(work);
    }
  }

  void answer_handler_failed(const ipc::Work& work) {
    const Error error{.code = ErrorCode::kHandlerFailed,
                      .message = "the worker failed on this request; its log says where",
                      .may_have_executed = true,
                      .retryable = true,
                      .peer = {},
                      .peer_reason = {}};
    const auto parsed = parse_request(work.envelope);
    const RequestAnswer answer = parsed
                                     ? error_answer(parsed->request, parsed->session, error)
                                     : RequestAnswer{.session = session_of_refused(work.envelope),
                                                     .operation = {},
                                                     .user = {},
                                                     .key = {},
                                                     .content = error};
    apply(ipc::Answer{.request = work.request,
                      .key = answer.key,
                      .epoch = 0,
                      .session = answer.session,
                      .answer = encode_answer(answer)});
  }

  // What the engine has forgotten lies between what it keeps: the allocator finds the whole pages
  // in it. Until everything of the last work is old enough to be forgotten, and not for ever: an
  // idle worker has nothing to give.
  void on_tick() {
    input("tick", [&] { engine_->on_tick(now()); });
    if (engine_ && engine_->idle() && now().monotonic_us < worked_at_us_ + kGiveBackForUs) {
      ::malloc_trim(0);
    }
  }

  void on_evict(const ipc::EvictAsk& ask) {
    turn_end();  // what is in the air counts
    COSIGNER_FAULT_POINT("evict.asked");
    const bool agree =
        phase_ == Phase::kReady && waiting_.empty() && engine_ != nullptr && engine_->idle();
    send(ipc::EvictReply{.ask = ask.ask, .agree = agree});
    COSIGNER_FAULT_POINT("evict.replied");
    if (agree) {
      leave();
    }
  }

  void on_drain(const ipc::Drain& drain) {
    if (phase_ == Phase::kLeaving) {
      return;
    }
    if (!engine_) {
      return leave();
    }
    COSIGNER_FAULT_POINT("drain.asked");
    phase_ = Phase::kDraining;
    const Now time = now();
    input("drain", [&] {
      engine_->drain(time, time.monotonic_us + static_cast<std::int64_t>(drain.deadline_ms) * 1000);
    });
    uv_timer_start(
        &drain_timer_, [](uv_timer_t* handle) { self(handle).leave(); },
        drain.deadline_ms + kDrainGraceMs, 0);
  }

  void on_channel_end(ipc::CloseReason reason) {
    // Nobody is left to work for. Everything of ours goes with the process.
    leave_now(reason == ipc::CloseReason::kProtocol ? kExitSoftware : kExitClean);
  }

  // ---- the broker

  void on_message(const BrokerMessage& message) {
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

  void on_broker_state(const BrokerStateChange& change) {
    switch (change.state) {
      case BrokerState::kSubscribed:
        if (phase_ == Phase::kStarting) {
          phase_ = Phase::kReady;
          COSIGNER_FAULT_POINT("worker.ready");
          send(ipc::WorkerReady{.threads = threads_->count()});
          threads_.reset();
        } else {
          log(2, "the broker is back");
        }
        break;
      case BrokerState::kDisconnected:
        log(3, "the broker is away: " + change.detail);
        break;
      case BrokerState::kClosed:
        channel_->shutdown();  // on_channel_end() follows once everything is written
    }
  }

  void on_broker_problem(const BrokerProblem& problem) {
    log(3, "broker: " + problem.detail +
               (problem.count > 1 ? " (" + std::to_string(problem.count) + " messages)" : ""));
  }

  // ---- the engine

  // Hands one input to the engine that concerns more than one request. An exception that no session
  // held back may have left what they share half-changed: the next worker rebuilds it from the
  // store.
  template <class F>
  void input(std::string_view what, F&& handle) {
    if (!attempt(what, std::forward<F>(handle))) {
      leave_now(kExitSoftware);
    }
  }

  // An exception is logged with its stack. False if one came.
  template <class F>
  bool attempt(std::string_view what, F&& handle) {
    if (!engine_) {
      return true;
    }
    dirty_ = true;
    try {
      handle();
      return true;
    } catch (const std::bad_alloc&) {
      leave_now(kExitOutOfMemory);
    } catch (const std::exception& error) {
      log(4, std::string("exception in ") + std::string(what) + ": " + typeid(error).name() + ": " +
                 error.what() + "\n" + last_throw_trace());
    } catch (...) {
      log(4, "exception of an unknown type in " + std::string(what) + "\n" + last_throw_trace());
    }
    return false;
  }

  void turn_end() {
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

  void arm_session_timer() {
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
  void beat() {
    const bool busy = !waiting_.empty() || engine_->sessions() > 0;
    if (busy) {
      worked_at_us_ = now().monotonic_us;
    }
    if (busy && !beating_) {
      uv_timer_start(
          &heartbeat_timer_, [](uv_timer_t* handle) { self(handle).send_heartbeat(); },
          heartbeat_ms_, heartbeat_ms_);
    } else if (!busy && beating_) {
      uv_timer_stop(&heartbeat_timer_);
      send_heartbeat();
    } else if (!busy && engine_->counted() &&
               uv_is_active(reinterpret_cast<uv_handle_t*>(&heartbeat_timer_)) == 0) {
      // Over as soon as it had begun: a request that was refused at once.
      uv_timer_start(
          &heartbeat_timer_, [](uv_timer_t* handle) { self(handle).send_heartbeat(); },
          heartbeat_ms_, 0);
    }
    beating_ = busy;
  }
  // Metrics ride along: a worker that has done something beats at least once more.
  void send_metrics() {
    if (const auto metrics = engine_ ? engine_->take_metrics() : std::nullopt) {
      send(*metrics);
    }
  }
  void send_heartbeat() {
    send_metrics();
    send(ipc::Heartbeat{.in_flight = static_cast<std::uint32_t>(waiting_.size()),
                        .sessions = engine_->sessions()});
  }

  void apply(Publish wanted) {
    // A refusal is as good as a lost packet: the engine sends again.
    COSIGNER_FAULT_POINT("message.sending");
    broker_->publish({.subject = subjects_->packet_to(wanted.node),
                      .reply = subjects_->no_responders(wanted.node, wanted.packet),
                      .payload = std::move(wanted.payload)});
    COSIGNER_FAULT_POINT("message.sent");
  }
  void apply(const ipc::Answer& answer) {
    if (waiting_.erase(answer.request) == 0) {
      log(4, "a second answer to one request was held back");
      return;
    }
    COSIGNER_FAULT_POINT("answer.sending");
    send(answer);
    COSIGNER_FAULT_POINT("answer.sent");
  }
  void apply(const ipc::StorePending& order) {
    COSIGNER_FAULT_POINT("store.pending");
    send(order);
    COSIGNER_FAULT_POINT("store.pending-sent");
  }
  void apply(const ipc::StoreActivate& order) {
    COSIGNER_FAULT_POINT("store.activate");
    send(order);
    COSIGNER_FAULT_POINT("store.activate-sent");
  }
  void apply(const ipc::StoreResult& order) {
    COSIGNER_FAULT_POINT("store.result");
    send(order);
  }
  void apply(const ipc::Log& line) { log(line.level, line.message, line.session); }
  template <class Message>
  void apply(const Message& message) {
    send(message);
  }

  // ---- checks

  void checking(const std::string& key, std::uint64_t epoch, const std::string& peer) override {
    const ipc::Checking notice{.key = key, .epoch = epoch, .peer = peer};
    if (channel_->send(notice) == ipc::SendStatus::kSent) {
      return;
    }
    // The supervisor has not read for kSupervisorPatience: what it cannot know of is not begun.
    send(ipc::Checked{.key = key, .epoch = epoch, .peer = peer});
    throw std::runtime_error("no check can be announced: the supervisor does not read");
  }
  void checked(const std::string& key, std::uint64_t epoch, const std::string& peer) override {
    send(ipc::Checked{.key = key, .epoch = epoch, .peer = peer});
  }

  // ---- out

  template <class Message>
  void send(const Message& message) {
    switch (channel_->send(message)) {
      case ipc::SendStatus::kSent:
      case ipc::SendStatus::kQueued:
        return;
      case ipc::SendStatus::kClosed:
        leave_now(kExitClean);
      case ipc::SendStatus::kFull:
        leave_now(kExitUnread);
      case ipc::SendStatus::kTooLarge:
        leave_now(kExitSoftware);
    }
  }

  void log(std::uint8_t level, std::string message, std::string session = {}) {
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
  void leave() {
    if (phase_ == Phase::kLeaving) {
      return;
    }
    phase_ = Phase::kLeaving;
    send_metrics();
    uv_timer_stop(&session_timer_);
    uv_timer_stop(&heartbeat_timer_);
    uv_timer_stop(&drain_timer_);
    if (!broker_) {
      leave_now(kExitClean);
    }
    broker_->close();
  }

  // The kernel closes, frees and forgets; destructors would only wait for threads.
  [[noreturn]] void leave_now(ExitStatus status) { ::_exit(status); }

  const std::uint64_t generation_;
  uv_loop_t loop_{};
  uv_timer_t session_timer_{};
  uv_timer_t heartbeat_timer_{};
  uv_timer_t drain_timer_{};
  uv_prepare_t prepare_{};
  uv_check_t check_{};
  SystemRandom random_;
  std::unique_ptr<ipc::FrameChannel> channel_;
  std::optional<WorkerKeys> keys_;          ///< until the engine has them
  std::vector<ipc::StoredKey> early_keys_;  ///< until the start brings the last of them
  std::size_t early_bytes_ = 0;
  Ed25519SecretKey broker_key_;  ///< until the broker connection has it
  std::optional<UserSubjects> subjects_;
  std::unique_ptr<BrokerConnection> broker_;
  std::unique_ptr<SessionEngine> engine_;
  Phase phase_ = Phase::kStarting;
  std::set<std::uint64_t> waiting_;  ///< requests of the supervisor without an answer yet
  std::uint32_t heartbeat_ms_ = 500;
  std::optional<ThreadCounter> threads_;  ///< from the start to the first subscription
  bool dirty_ = false;
  std::int64_t worked_at_us_ = now().monotonic_us;  ///< a start is work
  bool beating_ = false;
  LogLimit log_limit_;
};

}  // namespace

int run_user_worker(int socket, std::uint64_t generation) {
  return UserWorker(socket, generation).run();
}

}  // namespace cosigner::worker
