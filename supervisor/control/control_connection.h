#pragma once
// One client of the control socket: its calls under way, its limits, its end. Included by the
// server's own sources only.

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "ipc/control_messages.h"
#include "supervisor/control/control_server.h"

namespace cosigner::supervisor {

class ControlServer::Connection : public std::enable_shared_from_this<ControlServer::Connection> {
 public:
  Connection(ControlServer* server, std::uint64_t id, ControlPeer peer, bool is_welcome)
      : server_(server),
        id_(id),
        peer_(std::make_shared<const ControlPeer>(std::move(peer))),
        is_welcome_(is_welcome) {}

  bool open(uv_loop_t* loop, ipc::UniqueFd fd);
  void on_frame(const ipc::Frame& frame);
  /// Ends what is running with this error, flushes, closes.
  void stop(const Error& error);
  /// Cancels what is running and tells the server. Idempotent.
  void end();
  /// A client that does not read what it asked for is disconnected. kTooLarge: nothing was sent,
  /// and the connection lives.
  ipc::SendStatus send(const ipc::ControlReply& reply);
  void finished(std::uint64_t call) {
    calls_.erase(call);
    heard_at_ = monotonic_ms();
    if (!is_welcome_ && channel_) {
      channel_->shutdown();  // with the refusal
    }
  }
  [[nodiscard]] const ControlPeer& peer() const { return *peer_; }
  [[nodiscard]] bool is_welcome() const { return is_welcome_; }
  /// Half a frame, or nothing to do, for longer than the limits allow.
  bool overdue(std::int64_t now);

 private:
  void call(ipc::ControlCall frame);

  ControlServer* server_;
  std::uint64_t id_;
  std::shared_ptr<const ControlPeer> peer_;
  bool is_welcome_;
  std::unique_ptr<ipc::FrameChannel> channel_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Call>> calls_;
  std::int64_t heard_at_ = monotonic_ms();  ///< of the last whole frame or answer
  std::optional<std::int64_t> half_since_;  ///< part of a frame waits for its rest
  bool stopping_ = false;
  bool ended_ = false;
};

}  // namespace cosigner::supervisor
