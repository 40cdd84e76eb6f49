#pragma once
// A uv loop for tests, and a broker connection that remembers what came.

#include <uv.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "worker/nats/broker_connection.h"

namespace cosigner::test {

/// A turn of the loop this long means that something blocked in it: the shortest of nats.c's
/// blocking waits here is the write deadline, 1 s. Shorter ones happen on a busy machine.
inline constexpr std::uint64_t kStalledNs = 700'000'000;

// A loop that can have several connections, and measures how long one turn took at most.
struct Loop {
  Loop() {
    uv_loop_init(&loop);
    uv_timer_init(&loop, &pulse);
    pulse.data = this;
    last_ns = uv_hrtime();
    uv_timer_start(
        &pulse,
        [](uv_timer_t* timer) {
          auto* self = static_cast<Loop*>(timer->data);
          const std::uint64_t now = uv_hrtime();
          self->worst_ns = std::max(self->worst_ns, now - self->last_ns);
          self->last_ns = now;
        },
        1, 1);
  }
  ~Loop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&pulse), nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
  }
  bool until(const std::function<bool()>& condition,
             std::chrono::milliseconds timeout = std::chrono::milliseconds(5000)) {
    const std::uint64_t end = uv_hrtime() + static_cast<std::uint64_t>(timeout.count()) * 1000000;
    while (!condition()) {
      if (uv_hrtime() > end) {
        return false;
      }
      uv_run(&loop, UV_RUN_ONCE);
    }
    return true;
  }
  void run_for(std::chrono::milliseconds duration) {
    until([] { return false; }, duration);
  }

  uv_loop_t loop{};
  uv_timer_t pulse{};
  std::uint64_t last_ns = 0;
  std::uint64_t worst_ns = 0;
};

struct Client {
  struct Setup {
    worker::EventQueue::Limits incoming{};
    std::size_t unwritten_bytes = worker::BrokerOptions{}.unwritten_bytes;
    std::string no_responders_subject{};
  };
  Client(Loop& loop, std::string url, std::vector<std::string> subjects, Setup setup)
      : Client(loop, ipc::BrokerAccess{.url = std::move(url), .jwt = {}}, std::move(subjects),
               key(), std::move(setup)) {}
  Client(Loop& loop, std::string url, std::vector<std::string> subjects)
      : Client(loop, std::move(url), std::move(subjects), Setup()) {}
  Client(Loop& loop, ipc::BrokerAccess access, std::vector<std::string> subjects,
         Ed25519SecretKey nkey, Setup setup)
      : connection(&loop.loop, options(std::move(access), std::move(subjects), std::move(setup)),
                   std::move(nkey), handlers()) {}

  static worker::BrokerOptions options(ipc::BrokerAccess access, std::vector<std::string> subjects,
                                       Setup setup) {
    worker::BrokerOptions options;
    options.access = std::move(access);
    options.link.name = "test";
    options.link.subjects = std::move(subjects);
    options.link.no_responders_subject = std::move(setup.no_responders_subject);
    options.incoming = setup.incoming;
    options.unwritten_bytes = setup.unwritten_bytes;
    return options;
  }
  static Ed25519SecretKey key() {
    SystemRandom random;
    return ed25519_generate(random);
  }
  worker::BrokerConnection::Handlers handlers() {
    return {
        .on_message =
            [this](worker::BrokerMessage message) {
              if (message.no_responders) {
                ++no_responders;
              }
              messages.push_back(std::move(message));
            },
        .on_state =
            [this](const worker::BrokerStateChange& change) {
              switch (change.state) {
                case worker::BrokerState::kSubscribed:
                  ++subscribed;
                  break;
                case worker::BrokerState::kDisconnected:
                  ++disconnected;
                  break;
                case worker::BrokerState::kClosed:
                  ++closed;
              }
            },
        .on_problem = [this](const worker::BrokerProblem& problem) { problems.push_back(problem); },
        .on_batch_end = {}};
  }
  bool has(worker::BrokerProblemKind kind) const {
    return std::ranges::any_of(problems, [&](const auto& problem) { return problem.kind == kind; });
  }
  bool send(const std::string& subject, std::size_t size = 3, const std::string& reply = {}) {
    return connection.publish(
        {.subject = subject, .reply = reply, .payload = ByteVector(size, 0x5a)});
  }

  std::vector<worker::BrokerMessage> messages;
  std::vector<worker::BrokerProblem> problems;
  int no_responders = 0;
  int subscribed = 0;
  int disconnected = 0;
  int closed = 0;
  worker::BrokerConnection connection;
};

}  // namespace cosigner::test
