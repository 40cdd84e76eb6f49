#include "supervisor/control/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <vector>

#include "ipc/frame.h"
#include "ipc/pack.h"
#include "supervisor/control/control_input.h"

namespace cosigner::supervisor {

namespace {
/// Where descriptors or memory have run out.
constexpr std::uint64_t kAcceptAgainMs = 100;
}  // namespace

// ---- one connection

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
            .message = "The answer is larger than a frame of the control socket.",
            .peer = {},
            .peer_reason = {}};
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

// ---- the server

namespace {

Error system_error(const std::string& path, const char* what) {
  return Error{.code = ErrorCode::kInternal,
               .message = "control socket " + path + ": " + what + ": " + std::strerror(errno),
               .peer = {},
               .peer_reason = {}};
}

std::optional<ControlPeer> peer_of(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return std::nullopt;
  }
  ControlPeer peer{
      .pid = credentials.pid, .uid = credentials.uid, .gid = credentials.gid, .groups = {}};
  socklen_t bytes = 0;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, nullptr, &bytes) != 0 && errno == ERANGE) {
    peer.groups.resize(bytes / sizeof(gid_t));
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer.groups.data(), &bytes) != 0) {
      peer.groups.clear();  // as if it had none
    }
  }
  return peer;
}

/// Somebody answers there: another node runs with this socket.
bool in_use(const sockaddr_un& address) {
  const ipc::UniqueFd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return probe &&
         connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

Expected<std::unique_ptr<ControlServer>> ControlServer::listen(uv_loop_t* loop,
                                                               const std::string& path,
                                                               Handler handler, Welcome welcome,
                                                               Limits limits) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return ::cosigner::fail(ErrorCode::kBadRequest,
                            "control socket " + path + ": the path is longer than " +
                                std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (in_use(address)) {
    return ::cosigner::fail(ErrorCode::kConflict,
                            "control socket " + path + ": another process answers there");
  }
  unlink(path.c_str());
  std::unique_ptr<ControlServer> server(
      new ControlServer(std::move(handler), std::move(welcome), limits));
  server->socket_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!server->socket_) {
    return std::unexpected(system_error(path, "socket"));
  }
  const int fd = server->socket_.get();
  // Nobody but the owner until the mode is set.
  const mode_t mask = umask(0177);
  const int bound = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  umask(mask);
  if (bound != 0) {
    return std::unexpected(system_error(path, "bind"));
  }
  server->path_ = path;
  if (chmod(path.c_str(), 0660) != 0 || ::listen(fd, 128) != 0) {
    return std::unexpected(system_error(path, "listen"));
  }
  if (auto watched = server->watch(loop); !watched) {
    return std::unexpected(watched.error());
  }
  return server;
}

Expected<std::unique_ptr<ControlServer>> ControlServer::adopt(uv_loop_t* loop, ipc::UniqueFd socket,
                                                              Handler handler, Welcome welcome,
                                                              Limits limits) {
  std::unique_ptr<ControlServer> server(
      new ControlServer(std::move(handler), std::move(welcome), limits));
  server->socket_ = std::move(socket);
  if (auto watched = server->watch(loop); !watched) {
    return std::unexpected(watched.error());
  }
  return server;
}

Expected<void> ControlServer::watch(uv_loop_t* loop) {
  loop_ = loop;
  sweep_timer_.emplace(loop, [this] { sweep(); });
  poll_ = new uv_poll_t;
  if (uv_poll_init(loop, poll_, socket_.get()) != 0) {
    delete std::exchange(poll_, nullptr);
    return std::unexpected(system_error(path_, "poll"));
  }
  poll_->data = this;
  accept_timer_.emplace(loop, [this] { want_connections(); });
  want_connections();
  return {};
}

void ControlServer::want_connections() {
  if (poll_ != nullptr) {
    uv_poll_start(poll_, UV_READABLE, [](uv_poll_t* handle, int, int) {
      static_cast<ControlServer*>(handle->data)->accept();
    });
  }
}

void ControlServer::accept() {
  for (std::size_t taken = 0; taken < limits_.accepted_at_once; ++taken) {
    ipc::UniqueFd fd(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        // The connection stays in the queue and the socket readable: polled on, it would spin.
        uv_poll_stop(poll_);
        accept_timer_->start(kAcceptAgainMs);
      }
      return;  // nothing left, or a connection that is already gone
    }
    auto peer = peer_of(fd.get());
    if (!peer) {
      continue;
    }
    const bool is_welcome = welcome_(*peer);
    if (!has_room_for(*peer, is_welcome)) {
      continue;
    }
    const std::uint64_t id = next_id_++;
    const auto connection = std::make_shared<Connection>(this, id, *std::move(peer), is_welcome);
    if (connection->open(loop_, std::move(fd))) {
      connections_.emplace(id, connection);
      sweep_timer_->start(limits_.sweep_ms, limits_.sweep_ms);
    }
  }
}

bool ControlServer::has_room_for(const ControlPeer& peer, bool is_welcome) const {
  if (peer.uid == 0 || peer.uid == geteuid()) {
    return connections_.size() < limits_.connections;
  }
  const auto count = [this](const auto& wanted) {
    return static_cast<std::size_t>(std::ranges::count_if(
        connections_, [&](const auto& entry) { return wanted(*entry.second); }));
  };
  if (connections_.size() + limits_.connections_kept >= limits_.connections) {
    return false;
  }
  return is_welcome ? count([&](const Connection& other) { return other.peer().uid == peer.uid; }) <
                          limits_.connections_per_uid
                    : count([](const Connection& other) { return !other.is_welcome(); }) <
                          limits_.connections_of_strangers;
}

void ControlServer::sweep() {
  const std::int64_t now = monotonic_ms();
  std::vector<std::shared_ptr<Connection>> overdue;
  for (const auto& [id, connection] : connections_) {
    if (connection->overdue(now)) {
      overdue.push_back(connection);
    }
  }
  for (const auto& connection : overdue) {
    connection->end();
  }
  if (connections_.empty()) {
    sweep_timer_->stop();
  }
}

void ControlServer::forget(std::uint64_t id) {
  connections_.erase(id);
}

void ControlServer::stop_listening() {
  if (poll_ != nullptr) {
    uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(poll_, nullptr)),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  }
  socket_.reset();
}

void ControlServer::stop(const Error& error) {
  stop_listening();
  for (const auto& [id, connection] : std::map(connections_)) {  // some end at once
    connection->stop(error);
  }
}

ControlServer::~ControlServer() {
  stop_listening();
  while (!connections_.empty()) {
    const auto connection = connections_.begin()->second;
    connection->end();
  }
  if (!path_.empty()) {
    unlink(path_.c_str());
  }
}

}  // namespace cosigner::supervisor
