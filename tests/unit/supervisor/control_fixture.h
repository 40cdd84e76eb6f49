#pragma once
// A control socket and its clients: real sockets, a real loop.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipc/control_messages.h"
#include "ipc/pack.h"
#include "supervisor/control/control_server.h"

namespace cosigner::supervisor::test {

inline constexpr std::size_t kReplyBytes = 256U << 10;
inline constexpr uid_t kStranger = 65533;

inline ByteVector frame_of(const auto& message) {
  const auto frame = ipc::encode_frame(message, 0);
  REQUIRE(frame);
  return {frame->begin(), frame->end()};
}

inline ByteVector call_of(std::uint64_t number, const char* command) {
  return frame_of(ipc::ControlCall{.call = number, .command = command, .arguments = {}});
}

/// A client that does what the test wants of it, and no more.
class Client {
 public:
  explicit Client(const std::string& path)
      : socket_(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    connected_ =
        ::connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  [[nodiscard]] bool connected() const { return connected_; }
  /// Bytes that the socket took.
  std::size_t write(ByteView bytes) {
    const ssize_t wrote = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return wrote > 0 ? static_cast<std::size_t>(wrote) : 0;
  }
  /// What has come so far is kept as frames.
  void read() {
    std::uint8_t buffer[65536];
    for (;;) {
      const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
      if (got > 0) {
        reader_.feed({buffer, static_cast<std::size_t>(got)});
        continue;
      }
      hung_up_ = hung_up_ || got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
      break;
    }
    for (auto frame = reader_.next(); frame && *frame; frame = reader_.next()) {
      auto reply = ipc::decode<ipc::ControlReply>(**frame);
      REQUIRE(reply);
      replies_.push_back(std::move(*reply));
    }
  }
  /// The server closed: seen without reading what it had sent before.
  [[nodiscard]] bool hung_up_on() const {
    pollfd wanted{socket_.get(), POLLRDHUP, 0};
    return ::poll(&wanted, 1, 0) == 1 && (wanted.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  }
  [[nodiscard]] const std::vector<ipc::ControlReply>& replies() const { return replies_; }
  void close() { socket_.reset(); }

 private:
  ipc::UniqueFd socket_;
  bool connected_ = false;
  bool hung_up_ = false;
  ipc::FrameReader reader_;
  std::vector<ipc::ControlReply> replies_;
};

/// A server that answers "ping", answers "large" with much, and keeps "wait" for ever.
struct Server {
  explicit Server(ControlServer::Limits limits = {}) {
    uv_loop_init(&loop);
    directory =
        std::filesystem::temp_directory_path() / ("cosigner-control-" + std::to_string(::getpid()));
    std::filesystem::create_directories(directory);
    auto listening = ControlServer::listen(
        &loop, path(), [this](std::shared_ptr<ControlRequest> request) { handle(request); },
        [](const ControlPeer& peer) { return peer.uid != kStranger; }, limits);
    REQUIRE(listening);
    server = std::move(*listening);
  }
  ~Server() {
    waiting.clear();
    server.reset();
    while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
    }
    CHECK(uv_loop_close(&loop) == 0);  // every handle was given back
    std::filesystem::remove_all(directory);
  }
  void handle(const std::shared_ptr<ControlRequest>& request) {
    if (request->command() == "wait") {
      request->on_cancel([this] { ++cancelled; });
      asked_with += request->arguments().size();
      waiting.push_back(request);
      return;
    }
    if (request->command() == "huge") {
      request->succeed(ipc::MapPacker().bytes("body", ByteVector(8U << 20)).finish());
      return;
    }
    if (request->command() == "huge part") {
      CHECK_FALSE(request->part(ipc::MapPacker().bytes("body", ByteVector(8U << 20)).finish()));
      return;
    }
    ++served;
    const bool large = request->command() == "large";
    request->succeed(ipc::MapPacker().bytes("body", ByteVector(large ? kReplyBytes : 1)).finish());
  }
  [[nodiscard]] std::string path() const { return directory / "control.sock"; }
  /// Runs the loop until the condition holds; fails after ten seconds.
  void until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      uv_run(&loop, UV_RUN_NOWAIT);
    }
  }
  /// Another client gets its answer, whatever goes on beside.
  void serves_others() {
    Client other(path());
    REQUIRE(other.connected());
    const ByteVector call = call_of(1, "ping");
    REQUIRE(other.write(call) == call.size());
    until([&] {
      other.read();
      return !other.replies().empty();
    });
    CHECK(other.replies()[0].final);
    CHECK(other.replies()[0].error_name.empty());
    other.close();
  }

  uv_loop_t loop{};
  std::filesystem::path directory;
  std::unique_ptr<ControlServer> server;
  std::vector<std::shared_ptr<ControlRequest>> waiting;
  std::size_t asked_with = 0;  ///< by those that wait
  int served = 0;
  int cancelled = 0;
};

}  // namespace cosigner::supervisor::test
