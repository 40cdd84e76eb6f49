#pragma once
// The control socket: listens, knows who calls (peer credentials), cuts frames, and hands calls to
// a handler that may answer once or stream. It knows no command. A client that sends garbage or
// half a frame, says nothing for long, or never reads is disconnected and costs nobody else
// anything: reads, queues and waits are bounded for each connection, connections for each user.

#include <sys/types.h>
#include <uv.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipc/uv_stream.h"
#include "supervisor/service/clock.h"

namespace cosigner::supervisor {

struct ControlPeer {
  pid_t pid = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups{};  ///< supplementary ones, when it connected
};

/// One call, as the handler sees it. Replies may be sent until the final one; after the client has
/// gone they go nowhere.
class ControlRequest {
 public:
  virtual ~ControlRequest() = default;
  [[nodiscard]] virtual const ControlPeer& peer() const = 0;
  [[nodiscard]] virtual const std::string& command() const = 0;
  /// A msgpack map; empty once the handler has returned.
  [[nodiscard]] virtual const ByteVector& arguments() const = 0;
  /// A part of a streamed answer. False when the client is gone or does not read (it has then been
  /// disconnected).
  virtual bool part(ByteVector body) = 0;
  virtual void succeed(ByteVector body) = 0;
  virtual void fail(const Error& error) = 0;
  /// Called once if the client cancels or goes before the final reply.
  virtual void on_cancel(std::function<void()> callback) = 0;
};

class ControlServer {
 public:
  /// Keep the shared pointer for as long as replies are to come.
  using Handler = std::function<void(std::shared_ptr<ControlRequest>)>;
  /// Whether this peer may ask for anything at all; asked once for each connection.
  using Welcome = std::function<bool(const ControlPeer&)>;
  struct Limits {
    std::size_t connections = 256;
    std::size_t calls_per_connection = 1024;
    std::size_t queued_bytes = 16U << 20;  ///< of replies a client has not read
    std::size_t connections_per_uid = 64;  ///< of others than root and the node's own user
    std::size_t connections_kept = 16;     ///< of `connections`: for root and the node's own user
    std::size_t connections_of_strangers = 8;      ///< of those who are not welcome, together
    std::size_t stranger_frame_bytes = 4U << 10U;  ///< they hear a refusal, once, and are gone
    std::size_t accepted_at_once = 16;    ///< in one turn of the loop: others have work in it too
    std::int64_t half_frame_ms = 10'000;  ///< for the rest of a frame that has begun
    std::int64_t silence_ms = 60'000;     ///< with no call running
    std::uint64_t sweep_ms = 1000;        ///< how often the two are looked after
  };

  /// Binds `path` (a stale socket there is replaced; a live one is an error that says so), mode
  /// 0660, and listens.
  [[nodiscard]] static Expected<std::unique_ptr<ControlServer>> listen(
      uv_loop_t* loop, const std::string& path, Handler handler, Welcome welcome, Limits limits);
  /// Serves a socket that listens already and belongs to somebody else (activation.h): it is not
  /// removed at the end.
  [[nodiscard]] static Expected<std::unique_ptr<ControlServer>> adopt(
      uv_loop_t* loop, ipc::UniqueFd socket, Handler handler, Welcome welcome, Limits limits);
  /// Takes no more calls, ends those under way with this error, and closes each connection once
  /// its client has read its replies (or the server is destroyed). `on_closed`, once, after the
  /// last of them, unless the server is destroyed before.
  void stop(const Error& error, std::function<void()> on_closed);
  /// Closes every connection and removes the socket if listen() made it.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  [[nodiscard]] std::size_t connections() const { return connections_.size(); }

 private:
  class Connection;
  class Call;
  ControlServer(Handler handler, Welcome welcome, Limits limits)
      : handler_(std::move(handler)), welcome_(std::move(welcome)), limits_(limits) {}
  [[nodiscard]] Expected<void> watch(uv_loop_t* loop);
  void accept();
  void stop_listening();
  void forget(std::uint64_t id);
  void note_closed();
  /// There is room for one more connection of this peer.
  [[nodiscard]] bool has_room_for(const ControlPeer& peer, bool is_welcome) const;
  void sweep();
  void want_connections();

  Handler handler_;
  Welcome welcome_;
  Limits limits_;
  std::string path_;  ///< to remove at the end; empty if adopted
  uv_loop_t* loop_ = nullptr;
  uv_poll_t* poll_ = nullptr;  ///< frees itself when closed
  ipc::UniqueFd socket_;
  std::optional<LoopTimer> sweep_timer_;   ///< runs while somebody is connected
  std::optional<LoopTimer> accept_timer_;  ///< polls again, after descriptors had run out
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, std::shared_ptr<Connection>> connections_;
  std::function<void()> on_closed_;  ///< set by stop()
};

}  // namespace cosigner::supervisor
