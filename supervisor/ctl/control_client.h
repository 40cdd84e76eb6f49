#pragma once
// A client of a node's control socket: calls out, replies in, several at once over one connection.
// One thread, no loop of its own: whoever waits calls receive().

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/control_messages.h"
#include "ipc/frame.h"
#include "ipc/unique_fd.h"
#include "supervisor/ctl/exit_status.h"

namespace cosigner::ctl {

class ControlClient {
 public:
  /// Fails with kUnreachable when nobody listens at `path`, or it may not be reached.
  [[nodiscard]] static Outcome<ControlClient> connect(const std::string& path);

  /// Sends a call and returns its number; replies come from receive(). What the socket does not
  /// take now goes out during receive(). `arguments` is a msgpack map.
  [[nodiscard]] Outcome<std::uint64_t> send(std::string_view command, ByteVector arguments);
  /// No more replies of this call are wanted; the server forgets it.
  [[nodiscard]] Outcome<void> cancel(std::uint64_t call);
  /// The next reply of any call; nothing after `timeout`, or when a signal came.
  [[nodiscard]] Outcome<std::optional<ipc::ControlReply>> receive(
      std::chrono::milliseconds timeout);
  /// The same of one call, whose error is one (kRefused); nothing also when another's came.
  [[nodiscard]] Outcome<std::optional<ipc::ControlReply>> reply_to(
      std::uint64_t call, std::chrono::milliseconds timeout);

  /// One call to its end: the final reply's body, or its error (kRefused).
  [[nodiscard]] Outcome<ByteVector> call(
      std::string_view command, ByteVector arguments,
      std::chrono::milliseconds timeout = std::chrono::seconds(30));
  /// The bodies of all replies, the final one last; never none.
  [[nodiscard]] Outcome<std::vector<ByteVector>> call_for_parts(
      std::string_view command, ByteVector arguments,
      std::chrono::milliseconds timeout = std::chrono::seconds(30));

 private:
  explicit ControlClient(ipc::UniqueFd socket) : socket_(std::move(socket)) {}
  Outcome<void> queue(const Expected<ipc::FrameBytes>& frame);
  Outcome<void> flush();
  Outcome<std::optional<ipc::ControlReply>> next();

  ipc::UniqueFd socket_;
  ipc::FrameReader reader_;
  ByteVector unsent_;
  std::size_t sent_ = 0;  ///< of unsent_
  std::uint64_t last_call_ = 0;
};

/// An empty msgpack map, for calls without arguments.
[[nodiscard]] ByteVector no_arguments();
/// The error that a final reply carries.
[[nodiscard]] Error reply_error(const ipc::ControlReply& reply);

}  // namespace cosigner::ctl
