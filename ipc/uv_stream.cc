#include "ipc/uv_stream.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <exception>
#include <memory>

namespace cosigner::ipc {
namespace {

// libuv reads into it and calls back at once, where it is emptied and wiped before any handler
// runs; so one serves all channels of a thread. One each would cost 640 MiB at 10,000 workers.
// Allocated on first use: as plain thread-local storage it would be zeroed, and so resident, in
// every thread of the process (384 KiB in a worker with nats.c's threads).
using Input = std::array<std::uint8_t, 64U << 10>;
Input& input_buffer() {
  thread_local const std::unique_ptr<Input> input(new Input);
  return *input;
}

// libuv writes with write(2): a peer that has closed must be an error code, not a signal.
void ignore_sigpipe() {
  static const bool done = [] {
    struct sigaction current{};
    if (::sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) {
      current.sa_handler = SIG_IGN;
      ::sigaction(SIGPIPE, &current, nullptr);
    }
    return true;
  }();
  static_cast<void>(done);
}

}  // namespace

// Owns the libuv handle, which outlives the FrameChannel until uv_close() has called back.
class FrameChannel::Impl {
 public:
  Impl(Handlers handlers, Limits limits)
      : handlers_(std::move(handlers)), limits_(limits), reader_(limits.max_frame_bytes) {}

  // Nothing, and `this` frees itself, when libuv does not take the descriptor.
  Expected<void> open(uv_loop_t* loop, UniqueFd fd) {
    pipe_.data = this;
    if (const int status = uv_pipe_init(loop, &pipe_, 0); status != 0) {
      delete this;
      return refused(status);
    }
    if (const int status = uv_pipe_open(&pipe_, fd.get()); status != 0) {
      release();
      return refused(status);
    }
    static_cast<void>(fd.release());
    if (const int status = start_reading(); status != 0) {
      release();
      return refused(status);
    }
    return {};
  }

  SendStatus send(FrameBytes frame) {
    if (state_ != State::kOpen) {
      return SendStatus::kClosed;
    }
    std::size_t sent = 0;
    if (queued_ == 0) {
      const uv_buf_t whole = buffer_of(frame, 0);
      const int status = uv_try_write(stream(), &whole, 1);
      if (status >= 0) {
        sent = static_cast<std::size_t>(status);
      } else if (status != UV_EAGAIN && status != UV_ENOSYS) {
        // The read side sees the end of the socket too; it closes, so that a caller of send() is
        // not called back from within it.
        return SendStatus::kClosed;
      }
      sent = wait_and_write(frame, sent);
      if (sent == frame.size()) {
        return SendStatus::kSent;
      }
    }
    // A frame of which a part is out must go on whatever the bound says.
    if (sent == 0 && queued_ + frame.size() > limits_.max_queued_bytes) {
      return SendStatus::kFull;
    }
    auto write = std::make_unique<Write>();
    write->bytes = std::move(frame);
    write->owner = this;
    write->request.data = write.get();
    write->queued = write->bytes.size() - sent;
    const uv_buf_t rest = buffer_of(write->bytes, sent);
    if (uv_write(&write->request, stream(), &rest, 1, &Impl::on_written) != 0) {
      return SendStatus::kClosed;
    }
    queued_ += write->queued;
    static_cast<void>(write.release());  // on_written() takes it back
    return SendStatus::kQueued;
  }

  void shutdown() {
    if (state_ != State::kOpen) {
      return;
    }
    state_ = State::kFlushing;
    if (queued_ == 0) {
      finish(CloseReason::kLocal, "");
    }
  }
  void close() { finish(CloseReason::kLocal, ""); }
  void pause() {
    if (state_ != State::kClosed) {
      paused_ = true;
      uv_read_stop(stream());
    }
  }
  void resume() {
    if (state_ == State::kClosed || !paused_) {
      return;
    }
    paused_ = false;
    start_reading();
    // Frames that had been read already: delivered from the loop, not from within the caller.
    if (reader_.pending() > 0 && !delivering_) {
      schedule_delivery();
    }
  }
  // The owner is gone: no handler is called any more.
  void release() {
    detached_ = true;
    finish(CloseReason::kLocal, "");
    if (!in_callback()) {
      handlers_ = {};
    }
  }

  void set_patience(std::chrono::milliseconds patience) { patience_ = patience; }
  void set_generation(std::uint64_t generation) { generation_ = generation; }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] bool closed() const { return state_ == State::kClosed; }
  [[nodiscard]] std::size_t queued() const { return queued_; }
  [[nodiscard]] std::size_t pending_input() const { return reader_.pending(); }
  [[nodiscard]] std::uint64_t strays() const { return strays_; }
  [[nodiscard]] int descriptor() const {
    uv_os_fd_t fd = -1;
    const auto* const handle = reinterpret_cast<const uv_handle_t*>(&pipe_);
    return state_ != State::kClosed && uv_fileno(handle, &fd) == 0 ? fd : -1;
  }

 private:
  enum class State : std::uint8_t { kOpen, kFlushing, kClosed };
  struct Write {
    uv_write_t request{};
    FrameBytes bytes;
    std::size_t queued = 0;
    Impl* owner = nullptr;
  };

  // With nothing queued: writes on from `sent` while patience lasts; says how far it got. An error
  // of the socket is left to the next write.
  std::size_t wait_and_write(FrameBytes& frame, std::size_t sent) {
    const auto until = std::chrono::steady_clock::now() + patience_;
    while (sent < frame.size()) {
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      if (left.count() <= 0) {
        break;
      }
      pollfd writable{.fd = descriptor(), .events = POLLOUT, .revents = 0};
      if (::poll(&writable, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
        break;
      }
      const uv_buf_t rest = buffer_of(frame, sent);
      const int status = uv_try_write(stream(), &rest, 1);
      if (status >= 0) {
        sent += static_cast<std::size_t>(status);
      } else if (status != UV_EAGAIN) {
        break;
      }
    }
    return sent;
  }

  static Impl* self(void* handle) {
    return static_cast<Impl*>(static_cast<uv_handle_t*>(handle)->data);
  }
  static Expected<void> refused(int status) {
    return fail(ErrorCode::kInternal, std::string("socket: ") + uv_strerror(status));
  }
  static uv_buf_t buffer_of(FrameBytes& bytes, std::size_t offset) {
    return uv_buf_init(reinterpret_cast<char*>(bytes.data()) + offset,
                       static_cast<unsigned>(bytes.size() - offset));
  }
  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&pipe_); }
  [[nodiscard]] bool in_callback() const { return callbacks_ > 0; }

  int start_reading() { return uv_read_start(stream(), &Impl::on_allocate, &Impl::on_read); }

  // No exception crosses libuv's C frames.
  template <class Call>
  void guarded(Call&& call) {
    ++callbacks_;
    try {
      call();
    } catch (const std::exception& error) {
      report(error.what());
    } catch (...) {
      report("an exception of unknown type");
    }
    --callbacks_;
  }
  void report(std::string_view what) noexcept {
    if (detached_) {
      return;  // the handler destroyed its channel before it threw: there is nobody left to tell
    }
    if (handlers_.on_exception) {
      handlers_.on_exception(what);
    } else {
      std::terminate();
    }
  }

  static void on_allocate(uv_handle_t* handle, std::size_t /*suggested*/, uv_buf_t* out) {
    static_cast<void>(handle);
    Input& input = input_buffer();
    *out = uv_buf_init(reinterpret_cast<char*>(input.data()), static_cast<unsigned>(input.size()));
  }

  static void on_read(uv_stream_t* handle, ssize_t size, const uv_buf_t* /*buffer*/) {
    Impl* const impl = self(handle);
    if (size > 0) {
      const auto count = static_cast<std::size_t>(size);
      try {
        impl->reader_.feed(ByteView(input_buffer().data(), count));
      } catch (const std::bad_alloc&) {
        impl->finish(CloseReason::kError, "out of memory");
      }
      sodium_memzero(input_buffer().data(), count);
      impl->deliver();
    } else if (size < 0) {
      impl->ended(static_cast<int>(size));
    }
  }

  void ended(int status) {
    deliver();  // what a pause had kept back
    if (status != UV_EOF) {
      finish(CloseReason::kError, uv_strerror(status));
    } else if (reader_.pending() > 0 && !paused_) {
      finish(CloseReason::kProtocol, "the peer closed within a frame");
    } else {
      finish(CloseReason::kEnd, "");
    }
  }

  void deliver() {
    if (delivering_) {
      return;
    }
    delivering_ = true;
    while (state_ == State::kOpen && !paused_) {
      auto next = reader_.next();
      if (!next) {
        finish(CloseReason::kProtocol, next.error().message);
        break;
      }
      if (!*next) {
        break;
      }
      if ((*next)->generation != generation_) {
        ++strays_;
        continue;
      }
      if (!detached_ && handlers_.on_frame) {
        guarded([&] { handlers_.on_frame(std::move(**next)); });
      }
    }
    delivering_ = false;
  }

  // An idle handle would keep the loop spinning, a timer of 0 ms fires once in the next turn.
  void schedule_delivery() {
    auto* const timer = new uv_timer_t{};
    uv_timer_init(pipe_.loop, timer);
    timer->data = this;
    pending_timer_ = timer;
    uv_timer_start(
        timer,
        [](uv_timer_t* handle) {
          auto* const impl = static_cast<Impl*>(handle->data);
          impl->drop_timer();
          impl->deliver();
        },
        0, 0);
  }
  void drop_timer() {
    if (pending_timer_ != nullptr) {
      uv_close(reinterpret_cast<uv_handle_t*>(pending_timer_),
               [](uv_handle_t* handle) { delete reinterpret_cast<uv_timer_t*>(handle); });
      pending_timer_ = nullptr;
    }
  }

  static void on_written(uv_write_t* request, int status) {
    const std::unique_ptr<Write> write(static_cast<Write*>(request->data));
    Impl* const impl = write->owner;
    impl->queued_ -= write->queued;
    if (status != 0 && status != UV_ECANCELED) {
      impl->finish(CloseReason::kError, uv_strerror(status));
    } else if (impl->state_ == State::kFlushing && impl->queued_ == 0) {
      impl->finish(CloseReason::kLocal, "");
    }
  }

  void finish(CloseReason reason, std::string_view detail) {
    if (state_ == State::kClosed) {
      return;
    }
    state_ = State::kClosed;
    reason_ = reason;
    detail_ = detail;
    drop_timer();
    uv_close(reinterpret_cast<uv_handle_t*>(&pipe_), &Impl::on_closed);
  }

  // The last callback of the handle: after the cancelled writes, and never from within send().
  static void on_closed(uv_handle_t* handle) {
    Impl* const impl = self(handle);
    impl->gone_ = true;
    if (!impl->detached_ && impl->handlers_.on_close) {
      impl->guarded([&] { impl->handlers_.on_close(impl->reason_, impl->detail_); });
    }
    if (impl->detached_) {
      delete impl;
    }
  }

 public:
  // Called by the owner's destructor.
  void abandon() {
    if (gone_ && !in_callback()) {
      delete this;
      return;
    }
    release();
  }

 private:
  uv_pipe_t pipe_{};
  uv_timer_t* pending_timer_ = nullptr;
  Handlers handlers_;
  Limits limits_;
  FrameReader reader_;
  std::uint64_t generation_ = 0;
  std::chrono::milliseconds patience_{0};
  std::uint64_t strays_ = 0;
  std::size_t queued_ = 0;
  State state_ = State::kOpen;
  CloseReason reason_ = CloseReason::kLocal;
  std::string detail_;
  int callbacks_ = 0;
  bool paused_ = false;
  bool delivering_ = false;
  bool detached_ = false;  // the FrameChannel is destroyed
  bool gone_ = false;      // libuv has let go of the handle
};

Expected<std::unique_ptr<FrameChannel>> FrameChannel::open(uv_loop_t* loop, UniqueFd fd,
                                                           Handlers handlers, Limits limits) {
  ignore_sigpipe();
  auto* const impl = new Impl(std::move(handlers), limits);
  if (const auto opened = impl->open(loop, std::move(fd)); !opened) {
    return std::unexpected(opened.error());
  }
  return std::unique_ptr<FrameChannel>(new FrameChannel(impl));
}
Expected<std::unique_ptr<FrameChannel>> FrameChannel::open(uv_loop_t* loop, UniqueFd fd,
                                                           Handlers handlers) {
  return open(loop, std::move(fd), std::move(handlers), Limits{});
}
FrameChannel::~FrameChannel() {
  impl_->abandon();
}

void FrameChannel::set_generation(std::uint64_t generation) {
  impl_->set_generation(generation);
}
std::uint64_t FrameChannel::generation() const {
  return impl_->generation();
}
void FrameChannel::set_patience(std::chrono::milliseconds patience) {
  impl_->set_patience(patience);
}
SendStatus FrameChannel::send_bytes(FrameBytes frame) {
  return impl_->send(std::move(frame));
}
void FrameChannel::shutdown() {
  impl_->shutdown();
}
void FrameChannel::close() {
  impl_->close();
}
void FrameChannel::pause() {
  impl_->pause();
}
void FrameChannel::resume() {
  impl_->resume();
}
bool FrameChannel::closed() const {
  return impl_->closed();
}
std::size_t FrameChannel::queued_bytes() const {
  return impl_->queued();
}
std::size_t FrameChannel::pending_input() const {
  return impl_->pending_input();
}
std::uint64_t FrameChannel::stray_frames() const {
  return impl_->strays();
}
int FrameChannel::descriptor() const {
  return impl_->descriptor();
}

}  // namespace cosigner::ipc
