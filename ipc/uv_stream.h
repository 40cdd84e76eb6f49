#pragma once
// Frames over a connected stream socket in a libuv loop: the socket pairs between supervisor,
// workers and gateway, and the control socket.
//
//   auto channel = FrameChannel::open(loop, std::move(fd), {.on_frame = …, .on_close = …});
//   (*channel)->set_generation(7);
//   (*channel)->send(WorkerStart{…});
//
// Sending tries the socket at once (uv_try_write: one system call, no turn of the loop) and queues
// only what the socket does not take. The queue is bounded: a frame that does not fit is refused
// with kFull and nothing of it is sent; nothing is ever dropped silently. The caller decides what a
// peer that does not read is worth.

#include <uv.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ipc/frame.h"
#include "ipc/unique_fd.h"

namespace cosigner::ipc {

enum class SendStatus : std::uint8_t {
  kSent,      ///< in the socket's buffer
  kQueued,    ///< goes out when the socket takes it
  kFull,      ///< refused: the queue's bound is reached
  kTooLarge,  ///< refused: the message does not fit a frame
  kClosed     ///< refused: the channel is closed or shutting down
};
[[nodiscard]] inline bool accepted(SendStatus status) {
  return status == SendStatus::kSent || status == SendStatus::kQueued;
}

enum class CloseReason : std::uint8_t {
  kEnd,       ///< the peer closed its end between two frames
  kProtocol,  ///< the peer sent what is no frame, or ended within one
  kError,     ///< the socket failed
  kLocal      ///< shutdown() has flushed everything, or close() was called
};

class FrameChannel {
 public:
  struct Handlers {
    /// A whole frame of this channel's generation. May send, close, or destroy the channel.
    std::function<void(Frame frame)> on_frame;
    /// Once, when the channel is closed for whatever reason; never from within the destructor.
    std::function<void(CloseReason reason, std::string_view detail)> on_close;
    /// A handler above threw. The channel lives on. Must not throw. Without it a throwing handler
    /// ends the process.
    std::function<void(std::string_view what)> on_exception;
  };
  struct Limits {
    std::size_t max_queued_bytes = 16U << 20;
    std::size_t max_frame_bytes = kMaxFrameBytes;
  };

  /// Takes the descriptor over (also when it fails) and makes it non-blocking.
  [[nodiscard]] static Expected<std::unique_ptr<FrameChannel>> open(uv_loop_t* loop, UniqueFd fd,
                                                                    Handlers handlers,
                                                                    Limits limits);
  [[nodiscard]] static Expected<std::unique_ptr<FrameChannel>> open(uv_loop_t* loop, UniqueFd fd,
                                                                    Handlers handlers);
  /// Closes at once; what is queued is lost, no handler is called any more. The loop must run once
  /// more to free the handle.
  ~FrameChannel();
  FrameChannel(const FrameChannel&) = delete;
  FrameChannel& operator=(const FrameChannel&) = delete;

  /// Sent with every message, demanded of every frame received (others are dropped and counted).
  /// 0 until set.
  void set_generation(std::uint64_t generation);
  [[nodiscard]] std::uint64_t generation() const;

  /// How long a frame that the socket does not take at once is waited for, the thread standing
  /// still, before it is queued; nothing behind a queue is waited for. 0 until set: an owner of
  /// many channels must not wait for one.
  void set_patience(std::chrono::milliseconds patience);

  template <HasFields Message>
  SendStatus send(const Message& message) {
    auto frame = encode_frame(message, generation());
    return frame ? send_bytes(std::move(*frame)) : SendStatus::kTooLarge;
  }
  SendStatus send_bytes(FrameBytes frame);

  /// Sends what is queued, then closes (kLocal). No frame is delivered any more.
  void shutdown();
  /// Closes now (kLocal).
  void close();
  /// Stops and resumes reading: back-pressure on the peer.
  void pause();
  void resume();

  [[nodiscard]] bool closed() const;
  [[nodiscard]] std::size_t queued_bytes() const;
  /// Bytes received that are not a whole frame yet.
  [[nodiscard]] std::size_t pending_input() const;
  /// Frames dropped because their generation was not this channel's.
  [[nodiscard]] std::uint64_t stray_frames() const;
  /// The socket, for SO_PEERCRED; -1 when closed.
  [[nodiscard]] int descriptor() const;

 private:
  class Impl;
  explicit FrameChannel(Impl* impl) : impl_(impl) {}
  Impl* impl_;  ///< frees itself when libuv has let go of the handle
};

}  // namespace cosigner::ipc
