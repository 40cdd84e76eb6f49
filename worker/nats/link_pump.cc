#include "worker/nats/link_pump.h"

#include <poll.h>

namespace cosigner::worker {

struct LinkPump::Handles {
  uv_poll_t poll{};
  uv_timer_t deadline{};
  LinkPump* pump = nullptr;  // null once the pump has gone
  int open = 2;

  template <class Handle>
  void close(Handle& handle) {
    uv_close(reinterpret_cast<uv_handle_t*>(&handle), [](uv_handle_t* closed) {
      auto* self = static_cast<Handles*>(closed->data);
      if (--self->open == 0) {
        delete self;
      }
    });
  }
};

LinkPump::LinkPump(uv_loop_t* loop, BrokerLink& link, std::chrono::milliseconds write_deadline,
                   Handlers handlers)
    : link_(link),
      write_deadline_(write_deadline),
      handlers_(std::move(handlers)),
      handles_(new Handles) {
  handles_->pump = this;
  uv_timer_init(loop, &handles_->deadline);
  handles_->deadline.data = handles_;
  // Fails only for what is no socket or is polled already.
  uv_poll_init_socket(loop, &handles_->poll, link.descriptor());
  handles_->poll.data = handles_;
  await(false);
  send();
}

LinkPump::~LinkPump() {
  handles_->pump = nullptr;
  handles_->close(handles_->poll);
  handles_->close(handles_->deadline);
}

void LinkPump::await(bool writable) {
  if (link_.ended()) {
    // Its end is told by on_lost; a socket at its end would be readable for ever.
    uv_poll_stop(&handles_->poll);
    uv_timer_stop(&handles_->deadline);
    polling_ = false;
    return;
  }
  if (!polling_ || writable != full_) {
    uv_poll_start(&handles_->poll, writable ? UV_READABLE | UV_WRITABLE : UV_READABLE,
                  [](uv_poll_t* poll, int status, int events) {
                    static_cast<Handles*>(poll->data)->pump->on_poll(status, events);
                  });
    polling_ = true;
  }
  full_ = writable;
}

void LinkPump::on_poll(int status, int events) {
  if ((events & UV_WRITABLE) != 0) {
    try_to_send();
  }
  if (status < 0) {
    polling_ = false;  // libuv has stopped: POLLERR, behind which there may be data
  }
  if (status < 0 || (events & UV_READABLE) != 0) {
    link_.receive();
    await(full_);
    handlers_.on_received();
  }
}

void LinkPump::send() {
  if (!full_ && link_.wants_to_send()) {
    try_to_send();
  }
}

void LinkPump::try_to_send() {
  if (!link_.wants_to_send()) {
    return await(false);
  }
  const std::size_t before = link_.unwritten().bytes;
  link_.send();
  const bool rest = link_.wants_to_send();
  if (!rest) {
    uv_timer_stop(&handles_->deadline);
  } else if (!full_ || link_.unwritten().bytes < before) {
    uv_timer_start(
        &handles_->deadline,
        [](uv_timer_t* timer) { static_cast<Handles*>(timer->data)->pump->on_deadline(); },
        static_cast<std::uint64_t>(write_deadline_.count()), 0);
  }
  await(rest);
}

// Timers come before the polling: after a long turn the socket may have been writable for a while.
void LinkPump::on_deadline() {
  const std::size_t before = link_.unwritten().bytes;
  try_to_send();
  if (link_.wants_to_send() && link_.unwritten().bytes >= before) {
    handlers_.on_stuck();
  }
}

void LinkPump::let_go() {
  send();
  link_.receive();
}

void LinkPump::send_all() {
  const auto end = std::chrono::steady_clock::now() + write_deadline_;
  while (link_.wants_to_send() && !link_.ended()) {
    link_.send();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return;
    }
    if (link_.wants_to_send()) {
      pollfd descriptor{.fd = link_.descriptor(), .events = POLLOUT, .revents = 0};
      ::poll(&descriptor, 1, static_cast<int>(left.count()));
    }
  }
}

}  // namespace cosigner::worker
