#include "worker/nats/broker_connection.h"

#include <pthread.h>

#include <algorithm>
#include <thread>

namespace cosigner::worker {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstRetry{10};
constexpr milliseconds kLastRetry{1000};
constexpr milliseconds kDrainTimeout{1000};

}  // namespace

class BrokerConnection::Impl {
 public:
  Impl(BrokerOptions options, Ed25519SecretKey key, Handlers handlers)
      : options_(std::move(options)),
        key_(std::move(key)),
        handlers_(std::move(handlers)),
        events_(options_.incoming, [this] { uv_async_send(&async_); }),
        outbox_(options_.outgoing) {}

  static std::shared_ptr<Impl> start(uv_loop_t* loop, BrokerOptions options, Ed25519SecretKey key,
                                     Handlers handlers) {
    auto impl = std::make_shared<Impl>(std::move(options), std::move(key), std::move(handlers));
    uv_async_init(loop, &impl->async_,
                  [](uv_async_t* handle) { static_cast<Handle*>(handle->data)->impl->deliver(); });
    impl->async_.data = new Handle{impl};
    impl->thread_ = std::thread([raw = impl.get()] { raw->transmit(); });
    return impl;
  }
  void stop() {
    outbox_.close();
    thread_.join();
    stopped_ = true;
    // The handle keeps this object until libuv has let go of it.
    uv_close(reinterpret_cast<uv_handle_t*>(&async_),
             [](uv_handle_t* handle) { delete static_cast<Handle*>(handle->data); });
  }

  bool publish(Outgoing message) {
    const bool accepted = outbox_.push(std::move(message));
    refused_ += accepted ? 0 : 1;
    return accepted;
  }
  void renew(ipc::BrokerAccess access) { outbox_.renew(std::move(access)); }
  void close() { outbox_.close(); }
  void drain() { outbox_.drain(); }
  [[nodiscard]] bool subscribed() const { return subscribed_; }
  [[nodiscard]] std::uint64_t refused() const { return refused_; }

 private:
  struct Handle {
    std::shared_ptr<Impl> impl;
  };

  // ---- the loop's thread

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
          outbox_.close();
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

  // ---- the transmit thread

  void transmit() {
    pthread_setname_np(pthread_self(), "transmit");
    milliseconds wait{0};
    while (!outbox_.closing()) {
      if (!link_) {
        if (!connect()) {
          wait = std::clamp(wait * 2, kFirstRetry, kLastRetry);
          if (outbox_.sleep(jitter(wait))) {
            break;
          }
          continue;
        }
        wait = milliseconds{0};
      }
      Outbox::Wake wake = outbox_.wait(link_number_);
      if (wake.lost) {
        lose("the connection was lost", wake.messages.size());
        if (outbox_.sleep(jitter(kFirstRetry))) {
          break;
        }
        keep(std::move(wake.renewed));
        continue;
      }
      send(wake.messages);
      if (link_ && wake.renewed) {
        replace(std::move(*wake.renewed));
      } else {
        keep(std::move(wake.renewed));
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

  void keep(std::optional<ipc::BrokerAccess> renewed) {
    if (renewed) {
      options_.access = std::move(*renewed);
    }
  }

  // Every attempt has a number of its own: one that fails after it has connected may report its
  // loss, which must not be taken for the loss of another.
  std::expected<std::unique_ptr<BrokerLink>, std::string> open(const ipc::BrokerAccess& access) {
    const std::uint64_t number = ++attempts_;
    LinkCallbacks callbacks;
    callbacks.on_message = [this](BrokerMessage message) { events_.push(std::move(message)); };
    callbacks.on_lost = [this, number](std::string reason) {
      {
        const std::lock_guard lock(reason_mutex_);
        lost_reason_ = std::move(reason);
      }
      outbox_.lost(number);
    };
    callbacks.on_problem = [this](BrokerProblem problem) { events_.push(std::move(problem)); };
    return BrokerLink::open(options_.link, access, key_, std::move(callbacks),
                            [this] { return outbox_.closing(); });
  }

  bool connect() {
    keep(outbox_.take_renewed());
    auto link = open(options_.access);
    if (!link) {
      // Once per outage and reason: a broker that stays away is no news.
      if (link.error() != last_failure_) {
        last_failure_ = link.error();
        events_.push(BrokerProblem{BrokerProblemKind::kConnectFailed, 1, std::move(link.error())});
      }
      return false;
    }
    link_number_ = attempts_;
    link_ = std::move(*link);
    last_failure_.clear();
    outbox_.set_open(true);
    events_.push(BrokerStateChange{BrokerState::kSubscribed, options_.access.url});
    return true;
  }

  // Make before break: whatever the old link may miss after its end, the new one hears.
  void replace(ipc::BrokerAccess access) {
    auto next = open(access);
    if (!next) {
      // The old credentials serve until they expire; then connect() goes on with the new ones.
      events_.push(
          BrokerProblem{BrokerProblemKind::kConnectFailed, 1, "new credentials: " + next.error()});
      options_.access = std::move(access);
      return;
    }
    options_.access = std::move(access);
    link_number_ = attempts_;
    std::swap(link_, *next);
    (*next)->drain(kDrainTimeout);
  }

  void send(std::vector<Outgoing>& messages) {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      switch (link_->publish(messages[i])) {
        case BrokerLink::PublishStatus::kSent:
          break;
        case BrokerLink::PublishStatus::kRefused:
          events_.push(BrokerProblem{BrokerProblemKind::kPublishFailed, 1,
                                     "larger than the broker's max_payload"});
          break;
        case BrokerLink::PublishStatus::kBroken:
          lose("writing to the broker failed", messages.size() - i);
          return;
      }
    }
  }

  void lose(std::string reason, std::size_t unsent) {
    unsent += outbox_.set_open(false);
    link_.reset();
    {
      const std::lock_guard lock(reason_mutex_);
      if (!lost_reason_.empty()) {
        reason = std::exchange(lost_reason_, {});
      }
    }
    events_.push(BrokerStateChange{BrokerState::kDisconnected, std::move(reason)});
    if (unsent > 0) {
      events_.push(BrokerProblem{BrokerProblemKind::kPublishFailed, unsent, "the broker is away"});
    }
  }

  void finish() {
    if (link_) {
      Outbox::Wake rest = outbox_.wait(link_number_);  // does not sleep: closing
      if (!rest.lost) {
        send(rest.messages);
      }
      if (link_ && !rest.lost) {
        link_->drain(kDrainTimeout);
        say_last_words();
      }
      link_.reset();
    }
    events_.push(BrokerStateChange{BrokerState::kClosed, {}});
  }

  // What the loop says to the last messages, after drain().
  void say_last_words() {
    if (!outbox_.lingering()) {
      return;
    }
    events_.push(BrokerDrained{});
    outbox_.linger(kLinger);
    Outbox::Wake last = outbox_.wait(link_number_);  // does not sleep: closing
    if (!last.lost && !last.messages.empty()) {
      send(last.messages);
      if (link_) {
        link_->flush(kDrainTimeout);
      }
    }
  }

  // options_.access, link_ and what follows it belong to the transmit thread once it runs.
  BrokerOptions options_;
  const Ed25519SecretKey key_;
  const Handlers handlers_;
  uv_async_t async_{};
  EventQueue events_;
  Outbox outbox_;
  std::thread thread_;
  std::vector<BrokerEvent> batch_;
  bool subscribed_ = false;
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
    : impl_(Impl::start(loop, std::move(options), std::move(key), std::move(handlers))) {}

BrokerConnection::~BrokerConnection() {
  impl_->stop();
}

bool BrokerConnection::publish(Outgoing message) {
  return impl_->publish(std::move(message));
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
