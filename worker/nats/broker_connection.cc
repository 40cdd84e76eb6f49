#include "worker/nats/broker_connection.h"

#include <pthread.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "worker/nats/link_handover.h"
#include "worker/nats/link_pump.h"
#include "worker/nats/link_signals.h"

namespace cosigner::worker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{10};
constexpr milliseconds kLastRetry{1000};
constexpr milliseconds kDrainTimeout{1000};
constexpr milliseconds kAcknowledgeTimeout{10'000};
// The link thread waits for the broker's answers in steps: in between it hears what else there is.
constexpr milliseconds kStep{250};
// More than this does not wait for the end of the turn: the buffer keeps the size that it once had.
constexpr std::size_t kSendAtOnceBytes = 16U << 10;

}  // namespace

class BrokerConnection::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(BrokerOptions options, Ed25519SecretKey key, Handlers handlers)
      : options_(std::move(options)),
        key_(std::move(key)),
        handlers_(std::move(handlers)),
        events_(options_.incoming),
        handover_([this] { wake_loop(); }) {}

  void start(uv_loop_t* loop) {
    open_handles(loop);
    link_thread_ = std::thread([this] { keep_link(); });
  }
  void stop() {
    stopped_ = true;
    leave_loop();
    signals_.close();
    link_thread_.join();
    close_handles();
  }

  bool publish(const Outgoing& message) {
    const bool accepted = try_to_publish(message);
    refused_ += accepted ? 0 : 1;
    return accepted;
  }
  void renew(ipc::BrokerAccess access) { signals_.renew(std::move(access)); }
  void close() {
    accepting_ = false;
    signals_.close();
  }
  void drain() { signals_.drain(); }
  [[nodiscard]] bool subscribed() const { return subscribed_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  // ---- the loop's thread: handles, which keep this object until libuv has let go of them

  struct Handles {
    uv_async_t wake{};
    uv_prepare_t turn_end{};
    uv_idle_t unsent{};  // while it is active the loop makes another turn
    std::shared_ptr<Impl> impl;
    int open = 3;
  };

  void open_handles(uv_loop_t* loop) {
    loop_ = loop;
    loop_thread_ = std::this_thread::get_id();
    handles_ = new Handles;
    handles_->impl = shared_from_this();
    handles_->wake.data = handles_;
    handles_->turn_end.data = handles_;
    uv_async_init(loop, &handles_->wake,
                  [](uv_async_t* handle) { static_cast<Handles*>(handle->data)->impl->on_wake(); });
    uv_prepare_init(loop, &handles_->turn_end);
    uv_prepare_start(&handles_->turn_end, [](uv_prepare_t* handle) {
      static_cast<Handles*>(handle->data)->impl->on_turn_end();
    });
    uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->turn_end));
    uv_idle_init(loop, &handles_->unsent);
    handles_->unsent.data = handles_;
  }
  void close_handles() {
    const auto closed = [](uv_handle_t* handle) {
      auto* handles = static_cast<Handles*>(handle->data);
      if (--handles->open == 0) {
        delete handles;
      }
    };
    uv_close(reinterpret_cast<uv_handle_t*>(&handles_->wake), closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&handles_->turn_end), closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&handles_->unsent), closed);
  }
  void wake_loop() { uv_async_send(&handles_->wake); }  // from any thread

  // ---- the loop's thread: links

  bool try_to_publish(const Outgoing& message) {
    if (!accepting_ || current_ == nullptr || current_->link().ended()) {
      return false;
    }
    BrokerLink& link = current_->link();
    if (link.unwritten().bytes >= options_.unwritten_bytes) {
      return false;
    }
    switch (link.publish(message)) {
      case BrokerLink::PublishStatus::kPublished:
        break;
      case BrokerLink::PublishStatus::kRefused:
        tell(BrokerProblem{BrokerProblemKind::kPublishFailed, 1,
                           "larger than the broker's max_payload"});
        break;
      case BrokerLink::PublishStatus::kBroken:
        return false;  // its end is told by on_lost
    }
    if (link.unwritten().bytes >= kSendAtOnceBytes) {
      current_->send();
    }
    return true;
  }

  // Without it, what others publish after on_turn_end(), at the same turn's end, would wait for the
  // next event.
  void another_turn() {
    uv_idle_start(&handles_->unsent, [](uv_idle_t* /*handle*/) {});
  }
  void on_turn_end() {
    uv_idle_stop(&handles_->unsent);
    for (const auto& pump : pumps_) {
      pump->send();
    }
  }

  void on_wake() {
    handover_.run([this](const LinkHandover::Task& task) { run(task); });
    deliver();
  }

  void run(const LinkHandover::Task& task) {
    const auto own =
        std::ranges::find_if(pumps_, [&](const auto& pump) { return &pump->link() == task.link; });
    switch (task.errand) {
      case LinkHandover::Errand::kTake:
        pumps_.push_back(std::make_unique<LinkPump>(
            loop_, *task.link, options_.link.write_deadline,
            LinkPump::Handlers{.on_received = [this] { deliver(); },
                               .on_stuck =
                                   [this, number = task.number] {
                                     lost(number, "the broker does not read what is sent to it");
                                   }}));
        return;
      case LinkHandover::Errand::kUse:
        current_ = own->get();
        if (!task.announce.empty()) {
          tell(BrokerStateChange{BrokerState::kSubscribed, task.announce});
        }
        return;
      case LinkHandover::Errand::kDrained:
        tell(BrokerDrained{});
        return;
      case LinkHandover::Errand::kLetGo:
        (*own)->let_go();
        if (current_ == own->get()) {
          current_ = nullptr;
        }
        pumps_.erase(own);
        return;
    }
  }

  void leave_loop() {
    handover_.run([this](const LinkHandover::Task& task) { run(task); });
    for (const auto& pump : pumps_) {
      pump->send_all();
    }
    current_ = nullptr;
    pumps_.clear();
    handover_.leave();
  }

  void deliver() {
    batch_ = events_.take(std::move(batch_));
    for (BrokerEvent& event : batch_) {
      if (stopped_) {
        return;
      }
      if (auto* message = std::get_if<BrokerMessage>(&event)) {
        handlers_.on_message(std::move(*message));
      } else if (const auto* change = std::get_if<BrokerStateChange>(&event)) {
        subscribed_ = change->state == BrokerState::kSubscribed;
        handlers_.on_state(*change);
      } else if (std::holds_alternative<BrokerDrained>(event)) {
        if (handlers_.on_drained) {
          handlers_.on_drained();
        } else {
          close();
        }
      } else {
        handlers_.on_problem(std::get<BrokerProblem>(event));
      }
    }
    batch_.clear();
    if (handlers_.on_batch_end) {
      handlers_.on_batch_end();
    }
  }

  // ---- any thread

  void tell(BrokerEvent event) {
    if (events_.push(std::move(event))) {
      wake_loop();
    }
  }
  void lost(std::uint64_t number, std::string reason) {
    {
      const std::lock_guard lock(reason_mutex_);
      lost_reason_ = std::move(reason);
    }
    signals_.lost(number);
  }

  // ---- the link thread

  void keep_link() {
    pthread_setname_np(pthread_self(), "link");
    milliseconds wait{0};
    while (!signals_.closing()) {
      if (!link_) {
        if (!connect()) {
          wait = std::clamp(wait * 2, kFirstRetry, kLastRetry);
          if (signals_.sleep(jitter(wait))) {
            break;
          }
          continue;
        }
        wait = milliseconds{0};
      }
      LinkSignals::Wake wake = signals_.wait(link_number_, jittered_ping_interval());
      if (wake.lost || (wake.idle() && !link_->heard() && !broker_answers())) {
        lose("the connection was lost");
        if (signals_.sleep(jitter(kFirstRetry))) {
          break;
        }
        keep(std::move(wake.renewed));
      } else if (wake.renewed && !wake.closing) {
        replace(std::move(*wake.renewed));
      }
    }
    finish();
  }

  // 1× to 5× for the first retries, so that workers do not all come back at once.
  milliseconds jitter(milliseconds wait) {
    SystemRandom random;
    const auto draw = random.bytes<Bytes<2>>();
    const unsigned fraction = draw.data[0] | static_cast<unsigned>(draw.data[1]) << 8U;
    const milliseconds spread = wait < milliseconds{100} ? wait * 4 : wait / 2;
    return wait + milliseconds(spread.count() * fraction / 65536);
  }

  // 0.75× to 1.25×, so that thousands of idle workers do not ask in step.
  milliseconds jittered_ping_interval() {
    SystemRandom random;
    const auto interval = options_.link.ping_interval.count();
    return milliseconds(interval * 3 / 4 + interval * random.bytes<Bytes<1>>().data[0] / 510);
  }

  void keep(std::optional<ipc::BrokerAccess> renewed) {
    if (renewed) {
      options_.access = std::move(*renewed);
    }
  }

  // Every attempt has a number of its own: one that fails after it has connected may report its
  // loss, which must not be taken for the loss of another.
  std::expected<std::unique_ptr<BrokerLink>, std::string> open(const ipc::BrokerAccess& access,
                                                               const std::string& announce) {
    const std::uint64_t number = ++attempts_;
    LinkCallbacks callbacks;
    callbacks.on_message = [this](BrokerMessage message) {
      events_.push(std::move(message));  // on_received follows
    };
    callbacks.on_no_responders = [this](BrokerMessage message) { tell(std::move(message)); };
    callbacks.on_unwritten = [this] {
      if (std::this_thread::get_id() == loop_thread_) {
        another_turn();
      } else {
        wake_loop();
      }
    };
    callbacks.on_lost = [this, number](std::string reason) { lost(number, std::move(reason)); };
    callbacks.on_problem = [this](BrokerProblem problem) { tell(std::move(problem)); };
    auto link = BrokerLink::open(options_.link, access, key_, std::move(callbacks));
    if (!link) {
      return link;
    }
    if (!handover_.ask({LinkHandover::Errand::kTake, link->get(), number})) {
      return std::unexpected("closing");
    }
    if (auto accepted = acknowledged(**link); !accepted) {
      let_go(**link, number);
      return std::unexpected(std::move(accepted.error()));
    }
    handover_.ask({LinkHandover::Errand::kUse, link->get(), number, announce});
    return link;
  }

  void let_go(BrokerLink& link, std::uint64_t number) {
    handover_.ask({LinkHandover::Errand::kLetGo, &link, number});
    handover_.wait();
  }

  std::expected<void, std::string> acknowledged(BrokerLink& link) {
    for (milliseconds waited{0}; waited < kAcknowledgeTimeout; waited += kStep) {
      switch (link.flush(kStep)) {
        case BrokerLink::FlushStatus::kDone:
          return link.refused();
        case BrokerLink::FlushStatus::kBroken:
          return std::unexpected("subscribing: " + BrokerLink::last_error());
        case BrokerLink::FlushStatus::kTimeout:
          if (signals_.closing()) {
            return std::unexpected("closing");
          }
      }
    }
    return std::unexpected("subscribing: the broker does not answer");
  }

  // Steps are counted, not time: a process that was stopped for long asks again before it judges.
  bool broker_answers() {
    for (milliseconds waited{0}; waited < 2 * options_.link.ping_interval; waited += kStep) {
      switch (link_->flush(kStep)) {
        case BrokerLink::FlushStatus::kDone:
          return true;
        case BrokerLink::FlushStatus::kBroken:
          return false;
        case BrokerLink::FlushStatus::kTimeout:
          if (signals_.pending(link_number_)) {
            return true;  // that first; the question is asked again
          }
      }
    }
    return false;
  }

  bool connect() {
    keep(signals_.take_renewed());
    auto link = open(options_.access, options_.access.url);
    if (!link) {
      // Once per outage and reason: a broker that stays away is no news.
      if (link.error() != last_failure_) {
        last_failure_ = link.error();
        tell(BrokerProblem{BrokerProblemKind::kConnectFailed, 1, std::move(link.error())});
      }
      return false;
    }
    link_number_ = attempts_;
    link_ = std::move(*link);
    last_failure_.clear();
    return true;
  }

  // Make before break: whatever the old link may miss after its end, the new one hears. What the
  // broker gave to the old one before the new one stood has come when it answers the old one.
  void replace(ipc::BrokerAccess access) {
    auto next = open(access, {});
    if (!next) {
      // The old credentials serve until they expire; then connect() goes on with the new ones.
      tell(BrokerProblem{BrokerProblemKind::kConnectFailed, 1, "new credentials: " + next.error()});
      options_.access = std::move(access);
      return;
    }
    options_.access = std::move(access);
    const std::uint64_t old_number = std::exchange(link_number_, attempts_);
    std::swap(link_, *next);
    static_cast<void>((*next)->flush(kDrainTimeout));
    let_go(**next, old_number);
  }

  void lose(std::string reason) {
    let_go(*link_, link_number_);
    const std::size_t unsent = link_->unwritten().messages;
    link_.reset();
    {
      const std::lock_guard lock(reason_mutex_);
      if (!lost_reason_.empty()) {
        reason = std::exchange(lost_reason_, {});
      }
    }
    tell(BrokerStateChange{BrokerState::kDisconnected, std::move(reason)});
    if (unsent > 0) {
      tell(BrokerProblem{BrokerProblemKind::kPublishFailed, unsent, "the broker is away"});
    }
  }

  void finish() {
    if (link_) {
      if (!handover_.left()) {
        link_->drain(kDrainTimeout);
        say_last_words();
      }
      let_go(*link_, link_number_);
      link_.reset();
    }
    tell(BrokerStateChange{BrokerState::kClosed, {}});
  }

  // What the loop says to the last messages, after drain().
  void say_last_words() {
    if (!signals_.lingering()) {
      return;
    }
    handover_.ask({LinkHandover::Errand::kDrained, link_.get(), link_number_});
    signals_.linger(kLinger);
    static_cast<void>(link_->flush(kDrainTimeout));
  }

  // options_.access, link_ and what follows it belong to the link thread once it runs.
  BrokerOptions options_;
  const Ed25519SecretKey key_;
  const Handlers handlers_;
  EventQueue events_;
  LinkSignals signals_;
  LinkHandover handover_;
  std::thread link_thread_;

  uv_loop_t* loop_ = nullptr;
  std::thread::id loop_thread_;
  Handles* handles_ = nullptr;
  std::vector<std::unique_ptr<LinkPump>> pumps_;
  LinkPump* current_ = nullptr;  // what publish() uses
  std::vector<BrokerEvent> batch_;
  bool subscribed_ = false;
  bool accepting_ = true;
  bool stopped_ = false;
  std::uint64_t refused_ = 0;

  std::unique_ptr<BrokerLink> link_;
  std::uint64_t attempts_ = 0;
  std::uint64_t link_number_ = 0;  ///< the attempt that link_ came from
  std::string last_failure_;
  std::mutex reason_mutex_;
  std::string lost_reason_;
};

BrokerConnection::BrokerConnection(uv_loop_t* loop, BrokerOptions options, Ed25519SecretKey key,
                                   Handlers handlers)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(key), std::move(handlers))) {
  impl_->start(loop);
}

BrokerConnection::~BrokerConnection() {
  impl_->stop();
}

bool BrokerConnection::publish(const Outgoing& message) {
  return impl_->publish(message);
}
void BrokerConnection::renew(ipc::BrokerAccess access) {
  impl_->renew(std::move(access));
}
void BrokerConnection::close() {
  impl_->close();
}
void BrokerConnection::drain() {
  impl_->drain();
}
bool BrokerConnection::subscribed() const {
  return impl_->subscribed();
}
std::uint64_t BrokerConnection::refused() const {
  return impl_->refused();
}

}  // namespace cosigner::worker
