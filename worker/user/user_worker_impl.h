#pragma once
// The inside of run_user_worker(): one object for the whole process. Phases, who is waiting, and
// the handles of the loop are here; what is decided about sessions is the engine's.

#include <unistd.h>
#include <uv.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>
#include <vector>

#include "crypto/identity/ed25519_key.h"
#include "ipc/start_keys.h"
#include "ipc/uv_stream.h"
#include "ipc/worker_exit.h"
#include "worker/nats/broker_connection.h"
#include "worker/process.h"
#include "worker/session/check_notices.h"
#include "worker/session/engine.h"
#include "worker/user/log_limit.h"
#include "worker/user/subjects.h"
#include "worker/user/throw_trace.h"

namespace cosigner::worker {

class UserWorker final : public CheckNotices {
 public:
  UserWorker(int socket, std::uint64_t generation);

  int run();

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
  void init_handle(int status, Handle& handle);
  [[nodiscard]] static Now now();

  // user_worker_frames.cc: what the supervisor says

  void on_frame(const ipc::Frame& frame);
  template <class Message, class F>
  void with(const ipc::Frame& frame, F&& use);
  template <class Message>
  void to_engine(const ipc::Frame& frame, void (SessionEngine::*method)(Now, const Message&));
  void on_keys(ipc::StartKeys part);
  void on_start(ipc::WorkerStart start);
  void on_work(const ipc::Work& work);
  void answer_handler_failed(const ipc::Work& work);
  void on_tick();
  void forget_and_give_back();
  void on_evict(const ipc::EvictAsk& ask);
  void on_drain(const ipc::Drain& drain);
  void on_channel_end(ipc::CloseReason reason);

  // user_worker.cc: the broker, the turns of the loop, what the engine wants done

  void on_message(const BrokerMessage& message);
  void on_broker_state(const BrokerStateChange& change);
  void on_broker_problem(const BrokerProblem& problem);

  // Hands one input to the engine that concerns more than one request. An exception that no session
  // held back may have left what they share half-changed: the next worker rebuilds it from the
  // store.
  template <class F>
  void input(std::string_view what, F&& handle) {
    if (!attempt(what, std::forward<F>(handle))) {
      leave_now(ipc::kExitSoftware);
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
      leave_now(ipc::kExitOutOfMemory);
    } catch (const std::exception& error) {
      log(ipc::LogLevel::kError, std::string("exception in ") + std::string(what) + ": " +
                                     typeid(error).name() + ": " + error.what() + "\n" +
                                     last_throw_trace());
    } catch (...) {
      log(ipc::LogLevel::kError,
          "exception of an unknown type in " + std::string(what) + "\n" + last_throw_trace());
    }
    return false;
  }

  void turn_end();
  void arm_session_timer();
  void beat();
  void begin_rest();
  void send_metrics();
  void send_heartbeat();
  void apply(Publish wanted);
  void apply(const ipc::Answer& answer);
  void apply(const ipc::StorePending& order);
  void apply(const ipc::StoreActivate& order);
  void apply(const ipc::StoreResult& order);
  void apply(const ipc::Log& line) { log(line.level, line.message, line.session); }
  template <class Message>
  void apply(const Message& message) {
    send(message);
  }

  // CheckNotices

  void checking(const std::string& key, std::uint64_t epoch, const std::string& peer) override;
  void checked(const std::string& key, std::uint64_t epoch, const std::string& peer) override;

  template <class Message>
  void send(const Message& message) {
    switch (channel_->send(message)) {
      case ipc::SendStatus::kSent:
      case ipc::SendStatus::kQueued:
        return;
      case ipc::SendStatus::kClosed:
        leave_now(ipc::kExitClean);
      case ipc::SendStatus::kFull:
        leave_now(ipc::kExitUnread);
      case ipc::SendStatus::kTooLarge:
        leave_now(ipc::kExitSoftware);
    }
  }

  void log(ipc::LogLevel level, std::string message, std::string session = {});
  void leave();

  // The kernel closes, frees and forgets; destructors would only wait for threads.
  [[noreturn]] void leave_now(ipc::WorkerExit status) { ::_exit(status); }

  const std::uint64_t generation_;
  uv_loop_t loop_{};
  uv_timer_t session_timer_{};
  uv_timer_t heartbeat_timer_{};
  uv_timer_t drain_timer_{};
  uv_timer_t rest_timer_{};
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

}  // namespace cosigner::worker
