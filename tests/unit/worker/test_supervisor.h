#pragma once
// Plays the supervisor for one zygote: orders forks, owns the children, speaks frames with them
// over blocking sockets.

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "ipc/frame.h"
#include "ipc/seqpacket.h"
#include "worker/zygote/warm_up.h"
#include "worker/zygote/zygote.h"

namespace cosigner::test {

inline void require(bool condition, const char* what) {
  if (!condition) {
    throw std::runtime_error(what);
  }
}

/// A forked child and our end of its socket.
class TestChild {
 public:
  TestChild(pid_t pid, ipc::UniqueFd socket, std::uint64_t generation)
      : pid_(pid), socket_(std::move(socket)), generation_(generation) {
    const timeval limit{10, 0};  // a test that waits longer has failed
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~TestChild() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  TestChild(TestChild&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        socket_(std::move(other.socket_)),
        generation_(other.generation_),
        reader_(std::move(other.reader_)) {}
  TestChild& operator=(TestChild&&) = delete;

  template <class Message>
  void send(const Message& message) {
    const auto frame = ipc::encode_frame(message, generation_);
    require(frame.has_value(), "a frame that cannot be encoded");
    std::size_t sent = 0;
    while (sent < frame->size()) {
      const ssize_t wrote =
          ::send(socket_.get(), frame->data() + sent, frame->size() - sent, MSG_NOSIGNAL);
      require(wrote > 0, "the child does not take frames");
      sent += static_cast<std::size_t>(wrote);
    }
  }
  /// The next frame; throws after ten seconds or at the end.
  ipc::Frame next() {
    auto frame = receive(0);
    require(frame.has_value(), "the child is silent");
    return std::move(*frame);
  }
  /// The next frame if it is there already; throws at the end.
  std::optional<ipc::Frame> next_at_hand() { return receive(MSG_DONTWAIT); }
  /// The next frame of this type; others are skipped.
  template <class Message>
  Message expect() {
    for (;;) {
      const ipc::Frame frame = next();
      if (frame.type == Message::kType) {
        auto message = ipc::decode<Message>(frame);
        require(message.has_value(), "a message that cannot be decoded");
        require(frame.generation == generation_, "a frame of another generation");
        return std::move(*message);
      }
    }
  }
  /// Waits for the child's end and returns its wait status.
  int reap() {
    int status = 0;
    require(::waitpid(pid_, &status, 0) == pid_, "not our child");
    pid_ = -1;
    return status;
  }
  void hang_up() { socket_.reset(); }
  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] int socket() const { return socket_.get(); }
  [[nodiscard]] std::uint64_t generation() const { return generation_; }

 private:
  // Nothing if there was none in the time that `flags` and the socket's own limit leave.
  std::optional<ipc::Frame> receive(int flags) {
    for (;;) {
      auto frame = reader_.next();
      require(frame.has_value(), "the child sent what is no frame");
      if (*frame) {
        return std::move(*frame);
      }
      std::uint8_t buffer[65536];
      const ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, flags);
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return std::nullopt;
      }
      require(got > 0, "the child is gone");
      reader_.feed({buffer, static_cast<std::size_t>(got)});
    }
  }

  pid_t pid_;
  ipc::UniqueFd socket_;
  std::uint64_t generation_;
  ipc::FrameReader reader_;
};

class TestSupervisor {
 public:
  /// A zygote forked from this process, which first does `before`, and whose children run
  /// `child_main`.
  explicit TestSupervisor(
      const worker::ChildMain& child_main, const std::string& cgroups = {},
      const std::function<void()>& before = [] {}) {
    start([&](int socket) {
      before();
      worker::configure_memory();
      worker::warm_up();
      ::_exit(worker::run_zygote(socket, child_main, cgroups));
    });
  }
  /// The real one: cosigner-worker, which is built beside the tests.
  TestSupervisor() : TestSupervisor(built("bin/cosigner-worker"), ".") {}
  /// Another program in its place, started in this directory.
  TestSupervisor(const std::string& program, const std::string& directory) {
    start([&](int socket) {
      require(::chdir(directory.c_str()) == 0, "no such directory");
      ::dup2(socket, 3);
      ::execl(program.c_str(), "cosigner-worker", "--zygote", nullptr);
      ::_exit(127);
    });
  }
  /// Where the build has put this program.
  static std::string built(const std::string& program) {
    return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / program;
  }
  ~TestSupervisor() { end(); }
  TestSupervisor(const TestSupervisor&) = delete;
  TestSupervisor& operator=(const TestSupervisor&) = delete;

  /// `crash_pipe`: what its crash handler writes to; the caller keeps and closes its own.
  TestChild fork(const std::string& user = "alice", std::uint64_t generation = 1,
                 ipc::Role role = ipc::Role::kWorker, int crash_pipe = -1) {
    auto pair = ipc::socket_pair(SOCK_STREAM);
    require(pair.has_value(), "socketpair");
    const ipc::ForkOrder order{
        .order = ++orders_, .role = role, .user = user, .generation = generation};
    const auto frame = ipc::encode_frame(order, 0);
    require(frame &&
                ipc::send_packet(socket_.get(), *frame, pair->second.get(), crash_pipe).has_value(),
            "the order was not sent");
    pair->second.reset();
    const auto result = ipc::decode<ipc::ForkResult>(receive());
    require(result && result->order == orders_ && result->pid > 0 && result->error.empty(),
            "the fork failed");
    return {result->pid, std::move(pair->first), generation};
  }
  /// Ends the zygote by closing its socket; returns its wait status.
  int end() {
    socket_.reset();
    int status = 0;
    if (pid_ > 0) {
      ::waitpid(std::exchange(pid_, -1), &status, 0);
    }
    return status;
  }

 private:
  template <class F>
  void start(F&& zygote) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    auto pair = ipc::socket_pair(SOCK_SEQPACKET);
    require(pair.has_value(), "socketpair");
    pid_ = ::fork();
    if (pid_ == 0) {
      pair->first.reset();
      zygote(pair->second.get());
    }
    socket_ = std::move(pair->first);
    pair->second.reset();
    const auto ready = ipc::decode<ipc::ZygoteReady>(receive());
    require(ready && ready->pid == pid_, "the zygote did not announce itself");
  }
  ipc::Frame receive() {
    auto received = ipc::receive_packet(socket_.get());
    require(received && received->status == ipc::ReceiveStatus::kPacket, "no packet");
    return std::move(received->packet.frame);
  }
  ipc::UniqueFd socket_;
  pid_t pid_ = -1;
  std::uint64_t orders_ = 0;
};

}  // namespace cosigner::test
