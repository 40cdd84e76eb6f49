#include "supervisor/control/control_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "supervisor/control/control_connection.h"

namespace cosigner::supervisor {

namespace {

/// Where descriptors or memory have run out.
constexpr std::uint64_t kAcceptAgainMs = 100;

Error system_error(const std::string& path, const char* what) {
  return Error{.code = ErrorCode::kInternal,
               .message = "control socket " + path + ": " + what + ": " + std::strerror(errno)};
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
  note_closed();
}

void ControlServer::note_closed() {
  if (connections_.empty() && on_closed_) {
    std::exchange(on_closed_, nullptr)();
  }
}

void ControlServer::stop_listening() {
  if (poll_ != nullptr) {
    uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(poll_, nullptr)),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_poll_t*>(handle); });
  }
  socket_.reset();
}

void ControlServer::stop(const Error& error, std::function<void()> on_closed) {
  stop_listening();
  on_closed_ = nullptr;  // not before all of them have been told
  for (const auto& [id, connection] : std::map(connections_)) {  // some end at once
    connection->stop(error);
  }
  on_closed_ = std::move(on_closed);
  note_closed();
}

ControlServer::~ControlServer() {
  on_closed_ = nullptr;
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
