// The control socket against clients that do not behave.

#include "supervisor/control/control_server.h"

#include <sys/resource.h>

#include "ipc/worker_messages.h"
#include "tests/unit/supervisor/control_fixture.h"

using namespace cosigner;
using namespace cosigner::supervisor;
using namespace cosigner::supervisor::test;

namespace {

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

TEST_CASE("control socket: stopped, it is closed once the last client has read its replies") {
  Server node;
  Client slow(node.path());
  slow.write(call_of(5, "wait"));
  Client other(node.path());
  other.write(call_of(6, "wait"));
  node.until([&] { return node.waiting.size() == 2; });
  node.waiting[0]->part(ByteVector(4U << 20U, 1));  // more than its socket holds
  int closed = 0;
  node.server->stop({.code = ErrorCode::kShuttingDown, .message = "over"}, [&] { ++closed; });
  node.until([&] {
    other.read();
    return other.replies().size() == 1 && other.hung_up_on();
  });
  node.until([&] { return node.server->connections() == 1; });
  CHECK(closed == 0);
  node.until([&] {
    slow.read();
    return slow.replies().size() == 2 && closed == 1;
  });
  CHECK(node.cancelled == 0);
  node.server.reset();
  CHECK(closed == 1);
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
