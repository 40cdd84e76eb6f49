#include "worker/nats/broker_connection.h"

#include <algorithm>
#include <thread>

#include "worker/nats/link_handover.h"
#include "worker/nats/link_keeper.h"
#include "worker/nats/link_pump.h"

namespace cosigner::worker {
namespace {

// More than this does not wait for the end of the turn: the buffer keeps the size that it once had.
constexpr std::size_t kSendAtOnceBytes = 16U << 10;

}  // namespace

class BrokerConnection::Impl : public std::enable_shared_from_this<Impl> {
 public:
  Impl(BrokerOptions options, Ed25519SecretKey key, Handlers handlers)
      : unwritten_bytes_(options.unwritten_bytes),
        write_deadline_(options.link.write_deadline),
        handlers_(std::move(handlers)),
        events_(options.incoming),
        handover_([this] { wake_loop(); }),
        keeper_(std::move(options.link), std::move(options.access), std::move(key), kLinger,
                handover_,
                {.on_message =
                     [this](BrokerMessage message) {
                       events_.push(std::move(message));  // on_received follows
                     },
                 .on_unwritten = [this] { on_unwritten(); },
                 .tell = [this](BrokerEvent event) { tell(std::move(event)); }}) {}

  void start(uv_loop_t* loop) {
    open_handles(loop);
    keeper_.start();
  }
  void stop() {
    stopped_ = true;
    leave_loop();
    keeper_.close();
    keeper_.join();
    close_handles();
  }

  bool publish(const Outgoing& message) {
    const bool accepted = try_to_publish(message);
    refused_ += accepted ? 0 : 1;
    return accepted;
  }
  void renew(ipc::BrokerAccess access) { keeper_.renew(std::move(access)); }
  void close() {
    accepting_ = false;
    keeper_.close();
  }
  void drain() { keeper_.drain(); }
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
    if (link.unwritten().bytes >= unwritten_bytes_) {
      return false;
    }
    switch (link.publish(message)) {
      case BrokerLink::PublishStatus::kPublished:
        break;
      case BrokerLink::PublishStatus::kRefused:
        tell(BrokerProblem{BrokerProblemKind::kPublishFailed, 1,
                           "larger than the broker's max_payload, or to no valid subject"});
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
            loop_, *task.link, write_deadline_,
            LinkPump::Handlers{.on_received = [this] { deliver(); },
                               .on_stuck =
                                   [this, number = task.number] {
                                     keeper_.lost(number,
                                                  "the broker does not read what is sent to it");
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
  void on_unwritten() {
    if (std::this_thread::get_id() == loop_thread_) {
      another_turn();
    } else {
      wake_loop();
    }
  }

  const std::size_t unwritten_bytes_;
  const std::chrono::milliseconds write_deadline_;
  const Handlers handlers_;
  EventQueue events_;
  LinkHandover handover_;

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

  LinkKeeper keeper_;  // the last: its thread uses the others
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
