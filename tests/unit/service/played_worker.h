#pragma once
// Workers whose part a test plays: their processes are real, hand their sockets to the test, and
// live until they are killed or the test lets them go.

#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "ipc/seqpacket.h"
#include "ipc/uv_stream.h"
#include "tests/unit/service/pool_fixture.h"
#include "tests/unit/service/python_zygote.h"

namespace cosigner::supervisor::test {

/// Where the children of handing_zygote() bring their sockets.
inline std::string hand_over_path(const NodeFiles& files) {
  return files.config.state_directory + "/workers";
}

inline std::string handing_zygote(const NodeFiles& files) {
  return files.script(python_zygote(R"(def child(fd):
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(")" + hand_over_path(files) +
                                    R"(")
    socket.send_fds(link, [frame(1, [os.getpid()], 0)], [fd])
    os.close(fd)
    link.recv(1)
    os._exit(0)
)"),
                      "/usr/bin/python3");
}

/// A pool whose workers are played.
struct PlayedPool : PoolNode {
  PlayedPool() : PoolNode(handing_zygote) {
    listener.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = hand_over_path(files);
    REQUIRE(path.size() < sizeof address.sun_path);
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) ==
            0);
    REQUIRE(::listen(listener.get(), 16) == 0);
  }
  ipc::UniqueFd listener;
};

class PlayedWorker {
 public:
  /// The next that comes up; it is to be of this user, who has asked for something.
  PlayedWorker(PlayedPool& node, const std::string& user) : node_(node) {
    REQUIRE(node.loop.until([&] {
      link_.reset(::accept4(node.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      return static_cast<bool>(link_);
    }));
    ipc::Packet packet;
    REQUIRE(node.loop.until([&] {
      auto received = ipc::receive_packet(link_.get());
      REQUIRE(received);
      packet = std::move(received->packet);
      return received->status == ipc::ReceiveStatus::kPacket;
    }));
    const auto self = ipc::decode<ipc::ZygoteReady>(packet.frame);
    REQUIRE(self);
    REQUIRE(packet.fd);
    pid_ = self->pid;
    generation_ = node.user(user).generation;
    REQUIRE(generation_ != 0);
    auto channel = ipc::FrameChannel::open(
        node.loop.get(), std::move(packet.fd),
        {.on_frame = [this](ipc::Frame frame) { got_.push_back(std::move(frame)); },
         .on_close = [](ipc::CloseReason, std::string_view) {},
         .on_exception = {}});
    REQUIRE(channel);
    channel_ = std::move(*channel);
    channel_->set_generation(generation_);
  }
  PlayedWorker(const PlayedWorker&) = delete;
  PlayedWorker& operator=(const PlayedWorker&) = delete;

  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] ipc::FrameChannel& channel() { return *channel_; }
  [[nodiscard]] const std::vector<ipc::Frame>& got() const { return got_; }
  template <class Message>
  void say(const Message& message) {
    REQUIRE(ipc::accepted(channel_->send(message)));
  }
  void say_hello() {
    say(ipc::WorkerHello{.channel_key = node_.random.bytes<X25519PublicKey>(),
                         .signing_key = node_.random.bytes<Ed25519PublicKey>(),
                         .broker_key = node_.random.bytes<Ed25519PublicKey>()});
  }
  /// Up to the first request.
  void start() {
    say_hello();
    await<ipc::WorkerStart>();
    say(ipc::WorkerReady{.threads = 1});
    await<ipc::Work>();
  }

  /// The last of its kind, once there are `count`.
  template <class Message>
  Message await(std::size_t count = 1) {
    REQUIRE(node_.loop.until([&] { return this->count(Message::kType) >= count; }));
    for (auto frame = got_.rbegin(); frame != got_.rend(); ++frame) {
      if (frame->type == Message::kType) {
        auto message = ipc::decode<Message>(*frame);
        REQUIRE(message);
        return *std::move(message);
      }
    }
    throw std::logic_error("counted, and not found");
  }
  [[nodiscard]] std::size_t count(ipc::MessageType type) const {
    return static_cast<std::size_t>(std::ranges::count(got_, type, &ipc::Frame::type));
  }
  /// The store's answer to that order.
  ipc::Stored stored(std::uint64_t order) {
    std::optional<ipc::Stored> found;
    REQUIRE(node_.loop.until([&] {
      for (const ipc::Frame& frame : got_) {
        if (auto said = ipc::decode<ipc::Stored>(frame); said && said->order == order) {
          found = *std::move(said);
        }
      }
      return found.has_value();
    }));
    return *found;
  }
  /// The pool takes it for a worker that serves.
  [[nodiscard]] bool serves() const {
    const std::string user(node_.pool.registry().user_of(generation_));
    const UserState state = user.empty() ? UserState::kAbsent : node_.user(user).state;
    return state == UserState::kReady || state == UserState::kBusy;
  }
  /// Its process has ended and is reaped.
  [[nodiscard]] bool over() const { return ::kill(pid_, 0) != 0; }

 private:
  PlayedPool& node_;
  ipc::UniqueFd link_;
  pid_t pid_ = 0;
  std::uint64_t generation_ = 0;
  std::vector<ipc::Frame> got_;
  std::unique_ptr<ipc::FrameChannel> channel_;
};

}  // namespace cosigner::supervisor::test
