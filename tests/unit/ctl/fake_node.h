#pragma once
// A control socket whose answers a test scripts: what cosignerctl meets, without a cluster.

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "ipc/control_messages.h"
#include "ipc/frame.h"
#include "ipc/unique_fd.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::test {

/// Serves one connection in a thread of its own.
class FakeNode {
 public:
  using Replies = std::vector<ipc::ControlReply>;
  /// What a call is answered with, in order; an empty list means silence. The call's number is
  /// filled in. `hang_up` closes the connection instead.
  using Script = std::function<Replies(const ipc::ControlCall& call, bool& hang_up)>;

  explicit FakeNode(Script script) : script_(std::move(script)) {
    path_ = (directory_.path() / "control.sock").string();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    listener_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
    ::listen(listener_.get(), 4);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeNode() {
    stop_ = true;
    thread_.join();
  }
  FakeNode(const FakeNode&) = delete;
  FakeNode& operator=(const FakeNode&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] unsigned cancels() const { return cancels_; }

 private:
  bool wait(int fd) {
    while (!stop_) {
      pollfd poll_fd{fd, POLLIN, 0};
      if (::poll(&poll_fd, 1, 20) > 0) {
        return true;
      }
    }
    return false;
  }
  void serve() {
    if (!wait(listener_.get())) {
      return;
    }
    const ipc::UniqueFd peer(::accept(listener_.get(), nullptr, nullptr));
    ipc::FrameReader reader;
    while (wait(peer.get())) {
      std::uint8_t chunk[65536];
      const ssize_t size = ::recv(peer.get(), chunk, sizeof chunk, 0);
      if (size <= 0) {
        return;
      }
      reader.feed(ByteView(chunk, static_cast<std::size_t>(size)));
      for (auto frame = reader.next(); frame && *frame; frame = reader.next()) {
        if ((*frame)->type == ipc::MessageType::kControlCancel) {
          ++cancels_;
          continue;
        }
        const auto call = ipc::decode<ipc::ControlCall>(**frame);
        bool hang_up = !call;
        const Replies replies = call ? script_(*call, hang_up) : Replies();
        if (hang_up) {
          return;
        }
        for (ipc::ControlReply reply : replies) {
          reply.call = call->call;
          const auto bytes = ipc::encode_frame(reply, 0).value();
          (void)::send(peer.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
        }
      }
    }
  }

  Script script_;
  TemporaryDirectory directory_;
  std::string path_;
  ipc::UniqueFd listener_;
  std::atomic<bool> stop_{false};
  std::atomic<unsigned> cancels_{0};
  std::thread thread_;
};

}  // namespace cosigner::test
