// What the supervisor says to a user's worker, from its keys to its end.

#include <iterator>

#include "ipc/answer.h"
#include "ipc/request.h"
#include "ipc/sandboxed.h"
#include "worker/crash/activity.h"
#include "worker/fault_point.h"
#include "worker/sandbox/sandbox.h"
#include "worker/user/give_back.h"
#include "worker/user/user_worker_impl.h"

namespace cosigner::worker {
namespace {

/// Past the drain deadline the engine has ended its sessions; this long for the last frames.
constexpr std::uint64_t kDrainGraceMs = 200;
/// The engine keeps what is done for three minutes at most, and a tick comes every minute.
constexpr std::int64_t kGiveBackForUs = 300'000'000;

}  // namespace

// A frame that does not decode cannot come from a supervisor of this release.
template <class Message, class F>
void UserWorker::with(const ipc::Frame& frame, F&& use) {
  auto message = ipc::decode<Message>(frame);
  if (!message) {
    leave_now(ipc::kExitSoftware);
  }
  use(*message);
}

template <class Message>
void UserWorker::to_engine(const ipc::Frame& frame,
                           void (SessionEngine::*method)(Now, const Message&)) {
  with<Message>(frame, [&](const Message& message) {
    input("store", [&] { (engine_.get()->*method)(now(), message); });
  });
}

void UserWorker::on_frame(const ipc::Frame& frame) {
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
    case Type::kVerifyKey:
      return with<ipc::VerifyKey>(frame, [this](auto& ask) {
        input("verification", [&] { send(engine_->verify(ask)); });
        begin_rest();
      });
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
      log(ipc::LogLevel::kWarning, "a frame of a type that workers do not take was ignored");
  }
}

void UserWorker::on_keys(ipc::StartKeys part) {
  if (engine_) {
    return;
  }
  for (ipc::StoredKey& key : part.keys) {
    early_bytes_ += ipc::stored_key_bytes(key);
    early_keys_.push_back(std::move(key));
  }
  if (early_bytes_ > ipc::kMaxStartBytes) {
    leave_now(ipc::kExitSoftware);  // its supervisor splits by the same bound
  }
  send(ipc::StartKeysTaken{.keys = static_cast<std::uint32_t>(early_keys_.size())});
}

void UserWorker::on_start(ipc::WorkerStart start) {
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
    log(ipc::LogLevel::kError, "the sandbox could not be entered: " + sandbox.error().message);
    leave_now(ipc::kExitSoftware);
  }
  log(ipc::LogLevel::kDebug, sandbox->text());
  send(ipc::Sandboxed{.landlock = sandbox->landlock.version,
                      .landlock_refused = sandbox->landlock.refused,
                      .relaxed = sandbox->relaxed});
  heartbeat_ms_ = start.settings.heartbeat_ms;
  subjects_.emplace(start.cluster, start.user, start.node);
  BrokerOptions options{.access = std::move(start.broker), .link = {}, .incoming = {}};
  options.link.name = "cosigner worker " + start.node;
  options.link.subjects = {subjects_->packets()};
  options.link.no_responders_subject = subjects_->missed_packets();
  // The engine comes first: when the subscription stands, packets come.
  engine_ = std::make_unique<SessionEngine>(std::move(start), std::move(*keys_),
                                            COSIGNER_FAULT_RANDOM(random_), *this, now(),
                                            COSIGNER_FAULT_PROTOCOLS);
  keys_.reset();
  broker_ = std::make_unique<BrokerConnection>(
      &loop_, std::move(options), std::move(broker_key_),
      BrokerConnection::Handlers{
          .on_message = [this](const BrokerMessage& message) { on_message(message); },
          .on_state = [this](const BrokerStateChange& change) { on_broker_state(change); },
          .on_problem = [this](const BrokerProblem& problem) { on_broker_problem(problem); },
          .on_batch_end = {}});
  dirty_ = true;
}

void UserWorker::on_work(const ipc::Work& work) {
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

void UserWorker::answer_handler_failed(const ipc::Work& work) {
  const Error error{.code = ErrorCode::kHandlerFailed,
                    .message = "the worker failed on this request; its log says where",
                    .may_have_executed = true,
                    .retryable = true};
  const auto parsed = parse_request(work.envelope);
  const RequestAnswer answer = parsed ? error_answer(parsed->request, parsed->session, error)
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

// Until everything of the last work is old enough to be forgotten, and not for ever: an idle worker
// has nothing to give.
void UserWorker::on_tick() {
  if (now().monotonic_us < worked_at_us_ + kGiveBackForUs) {
    forget_and_give_back();
  } else {
    input("tick", [&] { engine_->on_tick(now()); });
  }
}

void UserWorker::forget_and_give_back() {
  input("tick", [&] { engine_->on_tick(now()); });
  if (engine_ && engine_->idle()) {
    give_back_memory();
  }
}

void UserWorker::on_evict(const ipc::EvictAsk& ask) {
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

void UserWorker::on_drain(const ipc::Drain& drain) {
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

void UserWorker::on_channel_end(ipc::CloseReason reason) {
  // Nobody is left to work for. Everything of ours goes with the process.
  leave_now(reason == ipc::CloseReason::kProtocol ? ipc::kExitSoftware : ipc::kExitClean);
}

}  // namespace cosigner::worker
