#include "supervisor/control/control_connection.h"

#include <algorithm>

#include "ipc/frame.h"
#include "ipc/pack.h"
#include "supervisor/control/control_input.h"

namespace cosigner::supervisor {

class ControlServer::Call final : public ControlRequest {
 public:
  Call(std::weak_ptr<Connection> connection, std::shared_ptr<const ControlPeer> peer,
       ipc::ControlCall frame)
      : connection_(std::move(connection)), peer_(std::move(peer)), frame_(std::move(frame)) {}

  const ControlPeer& peer() const override { return *peer_; }
  const std::string& command() const override { return frame_.command; }
  const ByteVector& arguments() const override { return frame_.arguments; }

  bool part(ByteVector body) override {
    const auto connection = connection_.lock();
    if (done_ || !connection) {
      return false;
    }
    ipc::ControlReply reply;
    reply.call = frame_.call;
    reply.body = std::move(body);
    const ipc::SendStatus status = connection->send(reply);
    if (status == ipc::SendStatus::kTooLarge) {
      fail(too_large());
    }
    return ipc::accepted(status);
  }
  void succeed(ByteVector body) override {
    ipc::ControlReply reply;
    reply.call = frame_.call;
    reply.final = true;
    reply.body = std::move(body);
    finish(reply);
  }
  void fail(const Error& error) override {
    ipc::ControlReply reply;
    reply.call = frame_.call;
    reply.final = true;
    reply.error_name = error_name(error.code);
    reply.error_message = error.message;
    reply.may_have_executed = error.may_have_executed;
    reply.body = ipc::MapPacker()
                     .boolean("retryable", error.retryable)
                     .unsigned_integer("retry_after_ms", error.retry_after_ms)
                     .finish();
    finish(reply);
  }
  void on_cancel(std::function<void()> callback) override { cancel_ = std::move(callback); }

  /// A call may run for as long as its client lives; what it was asked with need not.
  void forget_arguments() { frame_.arguments = ByteVector(); }
  void cancelled() {
    done_ = true;
    if (const auto callback = std::exchange(cancel_, nullptr)) {
      callback();
    }
  }

 private:
  static Error too_large() {
    return {.code = ErrorCode::kOverloaded,
            .message = "The answer is larger than a frame of the control socket."};
  }
  void finish(const ipc::ControlReply& reply) {
    const auto connection = connection_.lock();
    if (!done_ && connection && connection->send(reply) == ipc::SendStatus::kTooLarge) {
      fail(too_large());
      return;
    }
    if (std::exchange(done_, true)) {
      return;
    }
    cancel_ = nullptr;
    if (connection) {
      connection->finished(frame_.call);
    }
  }

  std::weak_ptr<Connection> connection_;
  std::shared_ptr<const ControlPeer> peer_;
  ipc::ControlCall frame_;
  std::function<void()> cancel_;
  bool done_ = false;
};

bool ControlServer::Connection::open(uv_loop_t* loop, ipc::UniqueFd fd) {
  ipc::FrameChannel::Handlers handlers;
  handlers.on_frame = [this](const ipc::Frame& frame) { on_frame(frame); };
  handlers.on_close = [this](ipc::CloseReason, std::string_view) { end(); };
  handlers.on_exception = [this](std::string_view) { end(); };
  ipc::FrameChannel::Limits limits;
  limits.max_queued_bytes = server_->limits_.queued_bytes;
  if (!is_welcome_) {
    limits.max_frame_bytes = server_->limits_.stranger_frame_bytes;
  }
  auto channel = ipc::FrameChannel::open(loop, std::move(fd), std::move(handlers), limits);
  if (!channel) {
    return false;
  }
  channel_ = std::move(*channel);
  return true;
}

void ControlServer::Connection::on_frame(const ipc::Frame& frame) {
  if (stopping_) {
    return;
  }
  const auto self = shared_from_this();
  heard_at_ = monotonic_ms();
  auto input = read_control_input(frame);
  if (!input) {
    end();  // garbage: no second chance
  } else if (auto* const wanted = std::get_if<ipc::ControlCall>(&*input)) {
    call(std::move(*wanted));
  } else if (const auto found = calls_.find(std::get<ipc::ControlCancel>(*input).call);
             found != calls_.end()) {
    const auto running = found->second;
    calls_.erase(found);
    running->cancelled();
  }
}

bool ControlServer::Connection::overdue(std::int64_t now) {
  if (!channel_ || channel_->pending_input() == 0) {
    half_since_.reset();
  } else if (!half_since_) {
    half_since_ = now;
  }
  const Limits& limits = server_->limits_;
  return (half_since_ && now >= std::max(*half_since_, heard_at_) + limits.half_frame_ms) ||
         (calls_.empty() && now >= heard_at_ + limits.silence_ms);
}

void ControlServer::Connection::call(ipc::ControlCall frame) {
  const std::uint64_t number = frame.call;
  if (calls_.size() >= server_->limits_.calls_per_connection || calls_.contains(number)) {
    end();
    return;
  }
  const auto running = std::make_shared<Call>(weak_from_this(), peer_, std::move(frame));
  calls_.emplace(number, running);
  server_->handler_(running);
  running->forget_arguments();
}

ipc::SendStatus ControlServer::Connection::send(const ipc::ControlReply& reply) {
  if (ended_ || !channel_) {
    return ipc::SendStatus::kClosed;
  }
  const ipc::SendStatus status = channel_->send(reply);
  if (!ipc::accepted(status) && status != ipc::SendStatus::kTooLarge) {
    end();
  }
  return status;
}

void ControlServer::Connection::stop(const Error& error) {
  stopping_ = true;
  for (const auto& [number, running] : std::exchange(calls_, {})) {
    running->fail(error);
  }
  if (channel_) {
    channel_->shutdown();  // end() follows, from its on_close
  }
}

void ControlServer::Connection::end() {
  if (std::exchange(ended_, true)) {
    return;
  }
  const auto self = shared_from_this();
  const auto calls = std::exchange(calls_, {});
  for (const auto& [number, running] : calls) {
    running->cancelled();
  }
  channel_.reset();
  server_->forget(id_);
}

}  // namespace cosigner::supervisor
