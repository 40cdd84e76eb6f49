// The control socket against clients that do not behave: real sockets, a real loop.

#include "supervisor/control/control_server.h"

#include <grp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <filesystem>

#include "ipc/control_messages.h"
#include "ipc/pack.h"
#include "ipc/worker_messages.h"
#include "supervisor/control/peer_rights.h"

using namespace cosigner;
using namespace cosigner::supervisor;

namespace {

constexpr std::size_t kReplyBytes = 256U << 10;
constexpr uid_t kStranger = 65533;

/// This process is another user for a moment.
class Borrowed {
 public:
  explicit Borrowed(uid_t uid) { REQUIRE((::setegid(uid) == 0 && ::seteuid(uid) == 0)); }
  ~Borrowed() { CHECK((::seteuid(0) == 0 && ::setegid(0) == 0)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
};

ByteVector frame_of(const auto& message) {
  const auto frame = ipc::encode_frame(message, 0);
  REQUIRE(frame);
  return {frame->begin(), frame->end()};
}

ByteVector call_of(std::uint64_t number, const char* command) {
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

ControlServer::Limits impatient_with_halves() {
  ControlServer::Limits limits;
  limits.half_frame_ms = 50;
  limits.sweep_ms = 10;
  return limits;
}

ControlServer::Limits impatient_with_silence() {
  ControlServer::Limits limits;
  limits.silence_ms = 1000;  // a busy machine may take a while to read what has been written
  limits.sweep_ms = 10;
  return limits;
}

}  // namespace

TEST_CASE("control socket: garbage ends the connection that sent it, and no other") {
  Server node;
  Client bystander(node.path());
  bystander.write(call_of(9, "wait"));
  node.until([&] { return node.waiting.size() == 1; });
  const ByteVector whole = call_of(1, "ping");
  ByteVector foreign_type = whole;
  foreign_type[7] = 200;
  const std::vector<ByteVector> garbage = {
      {'G', 'E', 'T', ' ', '/', ' ', 'H', 'T', 'T', 'P'},
      ByteVector(64, 0),
      ByteVector(64, 0xff),
      frame_of(ipc::ControlReply{}),  // the server's own words
      frame_of(ipc::Work{}),
      foreign_type,
  };
  for (const ByteVector& bytes : garbage) {
    Client client(node.path());
    REQUIRE(client.write(bytes) == bytes.size());
    node.until([&] { return client.hung_up_on(); });
    node.serves_others();
  }
  CHECK_FALSE(bystander.hung_up_on());
  CHECK(node.cancelled == 0);
}

TEST_CASE("control socket: a call that waits does not keep what it was asked with") {
  Server node;
  Client client(node.path());
  constexpr std::size_t kEnvelope = 64U << 10;
  for (std::uint64_t number = 1; number <= 4; ++number) {
    const ByteVector call = frame_of(
        ipc::ControlCall{.call = number, .command = "wait", .arguments = ByteVector(kEnvelope, 1)});
    REQUIRE(client.write(call) == call.size());
    node.until([&] { return node.waiting.size() == number; });
  }
  CHECK(node.asked_with == 4 * kEnvelope);
  for (const auto& call : node.waiting) {
    CHECK(call->arguments().capacity() == 0);
    CHECK(call->command() == "wait");
    call->succeed({});
  }
  node.until([&] {
    client.read();
    return client.replies().size() == 4;
  });
}

TEST_CASE("control socket: a frame in two parts is a frame") {
  Server node;
  const ByteVector whole = call_of(1, "ping");
  Client client(node.path());
  client.write(ByteView(whole).first(7));
  node.serves_others();
  client.write(ByteView(whole).subspan(7));
  node.until([&] {
    client.read();
    return client.replies().size() == 1;
  });
}

TEST_CASE("control socket: half a frame is waited for, but not for ever") {
  Server node(impatient_with_halves());
  const ByteVector whole = call_of(1, "ping");
  SECTION("a part that stays one") {
    Client client(node.path());
    client.write(ByteView(whole).first(whole.size() - 1));
    node.serves_others();
    node.until([&] { return client.hung_up_on(); });
    CHECK(node.served == 1);  // the other's
  }
  SECTION("also of a client with a call running") {
    Client client(node.path());
    client.write(call_of(5, "wait"));
    node.until([&] { return node.waiting.size() == 1; });
    client.write(ByteView(whole).first(5));
    node.until([&] { return client.hung_up_on(); });
    CHECK(node.cancelled == 1);
  }
  SECTION("an announced size costs nothing until it comes") {
    Client client(node.path());
    client.write(ByteVector{0x00, 0x40, 0x00, 0x00});  // 4 MiB to follow
    node.until([&] { return client.hung_up_on(); });
  }
}

TEST_CASE("control socket: silence ends a connection, a call that takes long does not") {
  Server node(impatient_with_silence());
  Client client(node.path());
  client.write(call_of(5, "wait"));
  node.until([&] { return node.waiting.size() == 1; });
  Client silent(node.path());
  node.until([&] { return silent.hung_up_on(); });  // by the same clock, begun later
  CHECK_FALSE(client.hung_up_on());
  node.waiting[0]->succeed({});
  node.until([&] { return client.hung_up_on(); });
  CHECK(node.cancelled == 0);
  node.until([&] { return node.server->connections() == 0; });
}

TEST_CASE("control socket: a client that never reads is disconnected at its bound") {
  ControlServer::Limits limits;
  limits.queued_bytes = 1U << 20;
  Server node(limits);
  Client client(node.path());
  std::uint64_t number = 0;
  node.until([&] {
    if (!client.hung_up_on()) {
      client.write(call_of(++number, "large"));
    }
    return client.hung_up_on();
  });
  // What its socket and its queue hold, and not one reply more.
  CHECK(static_cast<std::size_t>(node.served) <=
        2 + (limits.queued_bytes + (1U << 20)) / kReplyBytes);
  node.serves_others();
  node.until([&] { return node.server->connections() == 0; });
}

TEST_CASE("control socket: an answer larger than a frame is an error of that call alone") {
  Server node;
  Client client(node.path());
  client.write(call_of(1, "huge"));
  client.write(call_of(2, "huge part"));
  client.write(call_of(3, "ping"));
  node.until([&] {
    client.read();
    return client.replies().size() == 3;
  });
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(client.replies()[i].final);
    CHECK(client.replies()[i].error_name == "overloaded");
  }
  CHECK(client.replies()[2].error_name.empty());
  CHECK_FALSE(client.hung_up_on());
}

TEST_CASE("control socket: a client that goes cancels what it had running") {
  Server node;
  Client client(node.path());
  client.write(call_of(1, "wait"));
  client.write(call_of(2, "wait"));
  node.until([&] { return node.waiting.size() == 2; });
  client.close();
  node.until([&] { return node.cancelled == 2; });
  CHECK_FALSE(node.waiting[0]->part({}));  // to nobody
  node.waiting[1]->succeed({});
  node.serves_others();
}

TEST_CASE("control socket: calls and connections are bounded") {
  ControlServer::Limits limits;
  limits.connections = 3;
  limits.calls_per_connection = 2;
  Server node(limits);
  SECTION("calls at once") {
    Client client(node.path());
    for (std::uint64_t number = 1; number <= 3; ++number) {
      client.write(call_of(number, "wait"));
    }
    node.until([&] { return client.hung_up_on(); });
    CHECK(node.cancelled == 2);
  }
  SECTION("a number twice") {
    Client client(node.path());
    client.write(call_of(1, "wait"));
    client.write(call_of(1, "wait"));
    node.until([&] { return client.hung_up_on(); });
  }
  SECTION("connections") {
    std::vector<Client> clients;
    for (int i = 0; i < 3; ++i) {
      clients.emplace_back(node.path());
    }
    node.until([&] { return node.server->connections() == 3; });
    Client one_too_many(node.path());
    node.until([&] { return one_too_many.hung_up_on(); });
    clients.pop_back();
    node.until([&] { return node.server->connections() == 2; });
    node.serves_others();
  }
}

TEST_CASE("control socket: one user of the machine cannot take all connections") {
  if (::geteuid() != 0) {
    WARN("skipped: becoming another user needs root");
    return;
  }
  ControlServer::Limits limits;
  limits.connections = 20;
  limits.connections_kept = 2;
  limits.connections_per_uid = 4;
  Server node(limits);
  // As its groups would allow.
  REQUIRE(::chmod(node.path().c_str(), 0666) == 0);
  std::filesystem::permissions(node.directory, std::filesystem::perms::all);
  int hold[2];
  REQUIRE(::pipe(hold) == 0);
  const pid_t stranger = ::fork();
  if (stranger == 0) {
    ::close(hold[1]);
    std::vector<Client> clients;
    if (::setgid(65534) == 0 && ::setuid(65534) == 0) {
      for (int i = 0; i < 20; ++i) {
        clients.emplace_back(node.path());
      }
    }
    char byte = 0;
    const bool told = ::read(hold[0], &byte, 1) >= 0;
    ::_exit(told ? 0 : 1);
  }
  ::close(hold[0]);
  node.until([&] { return node.server->connections() == 4; });
  for (int i = 0; i < 100; ++i) {
    uv_run(&node.loop, UV_RUN_NOWAIT);
  }
  CHECK(node.server->connections() == 4);
  node.serves_others();
  ::close(hold[1]);
  int status = 0;
  ::waitpid(stranger, &status, 0);
  node.until([&] { return node.server->connections() == 0; });
}

TEST_CASE(
    "control socket: who has no rights hears so once, is bounded in everything, and locks nobody "
    "out") {
  if (::geteuid() != 0) {
    WARN("skipped: becoming another user needs root");
    return;
  }
  ControlServer::Limits limits;
  limits.connections = 12;
  limits.connections_kept = 4;
  limits.connections_of_strangers = 3;
  Server node(limits);
  REQUIRE(::chmod(node.path().c_str(), 0666) == 0);
  std::filesystem::permissions(node.directory, std::filesystem::perms::all);
  const auto connect_as = [&](uid_t uid) {
    const Borrowed identity(uid);  // the kernel notes it at connect(2)
    return Client(node.path());
  };
  SECTION("one answer, then the end") {
    Client stranger = connect_as(kStranger);
    stranger.write(call_of(1, "ping"));
    stranger.write(call_of(2, "ping"));
    node.until([&] { return stranger.hung_up_on(); });
    stranger.read();
    CHECK(stranger.replies().size() == 1);
    CHECK(node.served == 1);
  }
  SECTION("no large frame") {
    Client stranger = connect_as(kStranger);
    stranger.write(ByteVector{0x00, 0x00, 0x20, 0x00});  // 8 KiB to follow
    node.until([&] { return stranger.hung_up_on(); });
    CHECK(node.served == 0);
  }
  SECTION("few at once, whoever they are") {
    std::vector<Client> strangers;
    for (int i = 0; i < 10; ++i) {
      strangers.push_back(connect_as(kStranger));
    }
    node.until([&] { return strangers.back().hung_up_on(); });
    CHECK(node.server->connections() == 3);
    node.serves_others();
  }
  SECTION("users with rights leave room for root") {
    std::vector<Client> users;
    for (uid_t uid = 60001; uid <= 60012; ++uid) {
      users.push_back(connect_as(uid));
    }
    node.until([&] { return users.back().hung_up_on(); });
    CHECK(node.server->connections() == 8);
    node.serves_others();
  }
}

TEST_CASE("control socket: rights come with the groups that a peer had when it connected") {
  if (::geteuid() != 0) {
    WARN("skipped: becoming another user needs root");
    return;
  }
  const PeerRights rights("daemon", "bin");  // groups that every Debian has
  const gid_t admin = ::getgrnam("daemon")->gr_gid;
  const gid_t view = ::getgrnam("bin")->gr_gid;
  CHECK(rights.of({.uid = 0}) == Rights::kAdmin);
  CHECK(rights.of({.uid = 5000, .gid = 5000}) == Rights::kNone);
  CHECK(rights.of({.uid = 5000, .gid = admin}) == Rights::kAdmin);
  CHECK(rights.of({.uid = 5000, .gid = 5000, .groups = {7, admin}}) == Rights::kAdmin);
  CHECK(rights.of({.uid = 5000, .gid = view}) == Rights::kView);
  CHECK(rights.of({.uid = 5000, .gid = 5000, .groups = {view, admin}}) == Rights::kAdmin);
  CHECK(PeerRights("", "").of({.uid = 5000, .gid = 0}) == Rights::kNone);
  CHECK(PeerRights("no-such-group", "").of({.uid = 5000, .gid = 5000}) == Rights::kNone);

  std::optional<ControlPeer> seen;
  uv_loop_t loop;
  uv_loop_init(&loop);
  const auto directory =
      std::filesystem::temp_directory_path() / ("cosigner-rights-" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  std::filesystem::permissions(directory, std::filesystem::perms::all);
  {
    const auto server = ControlServer::listen(
        &loop, directory / "s", [](auto) {},
        [&](const ControlPeer& peer) {
          seen = peer;
          return true;
        },
        {});
    REQUIRE(server);
    REQUIRE(::chmod((directory / "s").c_str(), 0666) == 0);
    const Client client = [&] {
      const gid_t groups[] = {view, 4711};
      REQUIRE(::setgroups(2, groups) == 0);
      const Borrowed identity(60001);
      return Client(directory / "s");
    }();
    REQUIRE(::setgroups(0, nullptr) == 0);
    REQUIRE(client.connected());
    while (!seen) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    CHECK(seen->uid == 60001);
    CHECK(rights.of(*seen) == Rights::kView);
  }
  while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
  }
  CHECK(uv_loop_close(&loop) == 0);
  std::filesystem::remove_all(directory);
}

TEST_CASE("control socket: a live one is not replaced, a stale one is") {
  Server node;
  uv_loop_t second;
  uv_loop_init(&second);
  const auto refused = ControlServer::listen(
      &second, node.path(), [](auto) {}, [](const auto&) { return true; }, {});
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == ErrorCode::kConflict);
  const std::string stale = node.directory / "stale.sock";
  {
    const ipc::UniqueFd left(::socket(AF_UNIX, SOCK_STREAM, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    stale.copy(address.sun_path, sizeof address.sun_path - 1);
    REQUIRE(::bind(left.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  auto replaced =
      ControlServer::listen(&second, stale, [](auto) {}, [](const auto&) { return true; }, {});
  CHECK(replaced);
  replaced->reset();
  while (uv_run(&second, UV_RUN_NOWAIT) != 0) {
  }
  CHECK(uv_loop_close(&second) == 0);
}

TEST_CASE("control socket: without a descriptor to spare it waits, and serves who waited with it") {
  Server server;
  Client client(server.path());
  REQUIRE(client.connected());
  client.write(call_of(1, "ping"));
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const int lowest_free = ::dup(0);
  REQUIRE(lowest_free > 0);
  ::close(lowest_free);
  const rlimit none{.rlim_cur = static_cast<rlim_t>(lowest_free), .rlim_max = before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const auto began = std::chrono::steady_clock::now();
  for (int turn = 0; turn < 6; ++turn) {  // a failed accept, and the wait for the next, in turn
    uv_run(&server.loop, UV_RUN_ONCE);
  }
  const auto took = std::chrono::steady_clock::now() - began;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(took >= std::chrono::milliseconds(200));  // one that spins is done at once
  CHECK(server.served == 0);
  server.until([&] {
    client.read();
    return client.replies().size() == 1;
  });
}
