// BrokerConnection against a real nats-server that is killed, restarted, stopped, and that refuses.

#include <catch2/catch.hpp>

#include "broker_client.h"
#include "nats_server.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::test::Client;
using cosigner::test::kStalledNs;
using cosigner::test::Loop;
using cosigner::test::NatsServer;
using std::chrono::milliseconds;

namespace {

constexpr std::string_view kUsers = R"(
authorization { users: [
  {user: a, password: secret, permissions: {
    publish: ["t.*.a", "_none.>"], subscribe: ["t.a.>"]}},
  {user: b, password: secret, permissions: {publish: ["t.*.b"], subscribe: ["t.b.>"]}}
] }
)";

}  // namespace

TEST_CASE("messages travel once the broker has acknowledged the subscription") {
  NatsServer server{std::string(kUsers)};
  Loop loop;
  Client a(loop, server.url("a"), {"t.a.>"});
  Client b(loop, server.url("b"), {"t.b.>"});
  CHECK_FALSE(a.send("t.b.a"));  // nothing is queued for a broker that is not there yet
  REQUIRE(loop.until([&] { return a.subscribed == 1 && b.subscribed == 1; }));
  CHECK(a.connection.refused() == 1);
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(a.send("t.b.a", static_cast<std::size_t>(i), "t.a.none.b." + std::to_string(i)));
  }
  REQUIRE(loop.until([&] { return b.messages.size() == 1000; }));
  for (std::size_t i = 0; i < 1000; ++i) {
    REQUIRE(b.messages[i].payload.size() == i);
    REQUIRE(b.messages[i].reply == "t.a.none.b." + std::to_string(i));
    REQUIRE(b.messages[i].subject == "t.b.a");
  }
  CHECK(a.problems.empty());
  CHECK(b.problems.empty());
  a.connection.close();
  CHECK(loop.until([&] { return a.closed == 1; }));
}

TEST_CASE("a packet to nobody comes back as no responders on its own reply subject") {
  NatsServer server{std::string(kUsers)};
  Loop loop;
  Client a(loop, server.url("a"), {"t.a.*"}, {.no_responders_subject = "t.a.none.>"});
  REQUIRE(loop.until([&] { return a.subscribed == 1; }));
  REQUIRE(a.send("t.b.a", 3, "t.a.own"));  // where messages come, it is not told, nor in the way
  REQUIRE(a.send("t.b.a", 3, "t.a.none.b.7"));
  REQUIRE(loop.until([&] { return a.no_responders == 1; }));
  CHECK(a.messages.at(0).subject == "t.a.none.b.7");
  CHECK(a.messages.at(0).payload.empty());
}

TEST_CASE("refused subjects are told, a refused subscription is never announced") {
  NatsServer server{std::string(kUsers)};
  Loop loop;
  Client a(loop, server.url("a"), {"t.a.>"});
  Client thief(loop, server.url("a"), {"t.b.>"});
  Client stranger(loop, server.url("c"), {"t.a.>"});
  REQUIRE(loop.until([&] { return a.subscribed == 1; }));
  REQUIRE(a.send("t.a.b"));
  REQUIRE(loop.until([&] { return a.has(BrokerProblemKind::kNotPermitted); }));
  REQUIRE(loop.until([&] { return !thief.problems.empty() && !stranger.problems.empty(); }));
  loop.run_for(milliseconds(100));
  CHECK(thief.subscribed == 0);
  CHECK(thief.problems.at(0).detail.find("ermission") != std::string::npos);
  CHECK(stranger.subscribed == 0);
  CHECK(a.disconnected == 0);
}

TEST_CASE("a killed broker is missed at once and found again when it is back") {
  NatsServer server{std::string(kUsers)};
  Loop loop;
  Client a(loop, server.url("a"), {"t.a.>"});
  Client b(loop, server.url("b"), {"t.b.>"});
  for (int round = 1; round <= 5; ++round) {
    REQUIRE(loop.until([&] { return a.subscribed == round && b.subscribed == round; }));
    REQUIRE(a.send("t.b.a"));
    REQUIRE(loop.until([&] { return b.messages.size() == static_cast<std::size_t>(round); }));
    server.kill();
    REQUIRE(loop.until([&] { return a.disconnected == round && b.disconnected == round; }));
    CHECK_FALSE(a.connection.subscribed());
    CHECK_FALSE(a.send("t.b.a"));
    server.start();
  }
  REQUIRE(loop.until([&] { return a.subscribed == 6 && b.subscribed == 6; }));
}

TEST_CASE("a broker that is not there yet is waited for") {
  NatsServer server;
  server.kill();
  Loop loop;
  Client a(loop, server.url(), {"t.a.>"});
  REQUIRE(loop.until([&] { return !a.problems.empty(); }));
  loop.run_for(milliseconds(300));
  CHECK(a.problems.size() == 1);  // one line for the outage, not one for each attempt
  server.start();
  REQUIRE(loop.until([&] { return a.subscribed == 1; }));
}

// Each failed attempt reports its loss, possibly late; seen as a link that went at once after it
// had come back.
TEST_CASE("an attempt that fails after it has connected is no loss of the link that comes later") {
  NatsServer server("max_control_line: 512\n");
  Loop loop;
  Client a(loop, server.url(), {"t." + std::string(600, 'a')});  // SUB ends the connection
  REQUIRE(loop.until([&] { return !a.problems.empty(); }));
  server.kill();
  server.configure({});
  server.start();
  REQUIRE(loop.until([&] { return a.subscribed >= 1; }));
  loop.run_for(milliseconds(300));
  CHECK(a.disconnected == 0);
  CHECK(a.send("t.b.a"));
}

TEST_CASE("a stopped broker never blocks the loop") {
  NatsServer server;
  Loop loop;
  Client a(loop, server.url(), {"t.a.>"}, {.unwritten_bytes = 8U << 20});
  Client b(loop, server.url(), {"t.b.>"});
  REQUIRE(loop.until([&] { return a.subscribed == 1 && b.subscribed == 1; }));
  server.stop();
  loop.worst_ns = 0;
  loop.last_ns = uv_hrtime();
  // More than socket buffers and ours hold: the rest is refused, not waited for.
  int refused = 0;
  for (int i = 0; i < 400; ++i) {
    refused += a.send("t.b.a", 60'000) ? 0 : 1;
    uv_run(&loop.loop, UV_RUN_NOWAIT);
  }
  loop.run_for(milliseconds(1000));
  CHECK(refused > 0);
  CHECK(loop.worst_ns < kStalledNs);
  server.resume();
  loop.run_for(milliseconds(300));
  // Whether the write deadline broke the link or not, it serves again.
  REQUIRE(loop.until([&] { return a.connection.subscribed() && b.connection.subscribed(); }));
  const std::size_t before = b.messages.size();
  REQUIRE(loop.until([&] {
    a.send("t.b.a");
    return b.messages.size() > before;
  }));
}

TEST_CASE("a broker that delays its acknowledgement by two seconds delays readiness only") {
  NatsServer server;
  Loop loop;
  server.stop();
  Client a(loop, server.url(), {"t.a.>"});
  loop.run_for(milliseconds(2000));
  CHECK(a.subscribed == 0);
  server.resume();
  REQUIRE(loop.until([&] { return a.subscribed == 1; }));
  CHECK(loop.worst_ns < kStalledNs);
}

TEST_CASE("a loop that does not keep up loses the newest messages and hears how many") {
  NatsServer server;
  Loop others;
  Loop loop;
  Client a(others, server.url(), {"t.a.>"});
  Client b(loop, server.url(), {"t.b.>"}, {.incoming = {.messages = 100, .bytes = 1U << 20}});
  REQUIRE(others.until([&] { return a.subscribed == 1; }));
  REQUIRE(loop.until([&] { return b.subscribed == 1; }));
  for (int i = 0; i < 1000; ++i) {
    REQUIRE(a.send("t.b.a", static_cast<std::size_t>(i)));
  }
  REQUIRE(a.send("t.a.a"));
  // One loop sleeps, the other gets everything to the broker, which hands it on.
  REQUIRE(others.until([&] { return a.messages.size() == 1; }));
  others.run_for(milliseconds(300));
  REQUIRE(loop.until([&] { return b.has(BrokerProblemKind::kSlowConsumer); }));
  REQUIRE(b.messages.size() == 100);
  CHECK(b.messages.back().payload.size() == 99);
  CHECK(b.problems.at(0).count == 900);
  REQUIRE(a.send("t.b.a", 5));
  others.run_for(milliseconds(50));
  CHECK(loop.until([&] { return b.messages.size() == 101; }));
}

TEST_CASE("a message beyond max_payload is dropped and told, and the link lives on") {
  NatsServer server;
  Loop loop;
  Client a(loop, server.url(), {"t.a.>"});
  REQUIRE(loop.until([&] { return a.subscribed == 1; }));
  REQUIRE(a.send("t.a.a", 5U << 20));
  REQUIRE(loop.until([&] { return a.has(BrokerProblemKind::kPublishFailed); }));
  REQUIRE(a.send("t.a.a", 3U << 20));
  REQUIRE(loop.until([&] { return a.messages.size() == 1; }));
  CHECK(a.messages.at(0).payload.size() == 3U << 20);
  CHECK(a.disconnected == 0);
}

TEST_CASE("new credentials take over without a gap") {
  NatsServer server{std::string(kUsers)};
  Loop loop;
  Client a(loop, server.url("a"), {"t.a.>"});
  Client b(loop, server.url("b"), {"t.b.>"});
  REQUIRE(loop.until([&] { return a.subscribed == 1 && b.subscribed == 1; }));
  std::size_t sent = 0;
  for (int renewal = 0; renewal < 5; ++renewal) {
    b.connection.renew({.url = server.url("b"), .jwt = {}});
    for (int i = 0; i < 200; ++i) {
      const std::size_t number = sent++;
      REQUIRE(a.send("t.b.a", number));
      uv_run(&loop.loop, UV_RUN_NOWAIT);
    }
  }
  std::vector<bool> seen;
  const auto all_seen = [&] {
    seen.assign(sent, false);
    for (const BrokerMessage& message : b.messages) {
      seen.at(message.payload.size()) = true;
    }
    return std::ranges::count(seen, true) == static_cast<std::ptrdiff_t>(sent);
  };
  CHECK(loop.until(all_seen));
  CHECK(b.disconnected == 0);
  CHECK(b.messages.size() <= 2 * sent);  // around each change a message may come twice
}

TEST_CASE("closing sends what was queued") {
  NatsServer server;
  Loop loop;
  Client b(loop, server.url(), {"t.b.>"});
  REQUIRE(loop.until([&] { return b.subscribed == 1; }));
  {
    Client a(loop, server.url(), {"t.a.>"});
    REQUIRE(loop.until([&] { return a.subscribed == 1; }));
    for (int i = 0; i < 500; ++i) {
      REQUIRE(a.send("t.b.a"));
    }
  }
  CHECK(loop.until([&] { return b.messages.size() == 500; }));
}

// Each end of a link took 500 ms once: nats.c waited for a loop that had let the link go.
TEST_CASE("connections that have nothing to say close one after the other without waiting") {
  NatsServer server;
  Loop loop;
  // Twenty times 500 ms would be more than until() gives.
  const auto end = uv_hrtime() + 5'000'000'000;
  for (int i = 0; i < 20; ++i) {
    Client a(loop, server.url(), {"t.a.>"}, {.no_responders_subject = "t.b.none.>"});
    REQUIRE(loop.until([&] { return a.subscribed == 1; }));
    a.connection.close();
    REQUIRE(loop.until([&] { return a.closed == 1; }));
    REQUIRE(uv_hrtime() < end);
  }
}

// libuv runs the prepare handle first that was started last, and the loop may sleep for ever.
TEST_CASE("what is published at the end of a turn is sent without another event") {
  NatsServer server;
  Loop others;
  Client b(others, server.url(), {"t.b.>"});
  REQUIRE(others.until([&] { return b.subscribed == 1; }));
  uv_loop_t bare{};
  uv_loop_init(&bare);
  struct Late {
    uv_prepare_t handle{};
    worker::BrokerConnection* connection = nullptr;
    bool due = false;
    bool published = false;
  } late;
  uv_prepare_init(&bare, &late.handle);
  late.handle.data = &late;
  uv_prepare_start(&late.handle, [](uv_prepare_t* handle) {
    auto* self = static_cast<Late*>(handle->data);
    if (std::exchange(self->due, false)) {
      self->published = self->connection->publish({.subject = "t.b.a", .reply = {}, .payload = {}});
    }
  });
  bool ready = false;
  {
    worker::BrokerConnection a(
        &bare, Client::options({.url = server.url(), .jwt = {}}, {"t.a.>"}, {}), Client::key(),
        {.on_message = [](const BrokerMessage& /*message*/) {},
         .on_state =
             [&](const BrokerStateChange& change) {
               ready = change.state == BrokerState::kSubscribed;
             },
         .on_problem = [](const BrokerProblem& /*problem*/) {},
         .on_batch_end = {}});
    late.connection = &a;
    while (!ready) {
      uv_run(&bare, UV_RUN_ONCE);
    }
    late.due = true;
    uv_run(&bare, UV_RUN_NOWAIT);
    CHECK(late.published);
    CHECK(uv_backend_timeout(&bare) == 0);  // it will not sleep on it
    uv_run(&bare, UV_RUN_NOWAIT);
    CHECK(uv_backend_timeout(&bare) != 0);
    CHECK(others.until([&] { return b.messages.size() == 1; }));
  }
  uv_close(reinterpret_cast<uv_handle_t*>(&late.handle), nullptr);
  uv_run(&bare, UV_RUN_DEFAULT);
  CHECK(uv_loop_close(&bare) == 0);
}
