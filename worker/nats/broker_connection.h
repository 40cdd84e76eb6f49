#pragma once
// The connection of a worker or gateway to its broker, as its uv loop sees it: never blocks, hands
// everything over in the loop's own thread, and comes back by itself whenever the broker does.
//
//   BrokerConnection broker(loop, options, std::move(key), {.on_message = …, .on_state = …});
//   … on_state(kSubscribed) …
//   broker.publish({subject, reply, payload});
//
// The loop itself sends and receives; what it publishes in one turn goes out at that turn's end, in
// one piece. One thread of ours, the link thread, does what blocks: it connects, waits for the
// broker's acknowledgements, asks every ten seconds whether the broker is still there, replaces a
// lost link after 10 to 50 ms (doubling up to 1 s, with jitter), and on new credentials brings up a
// second link before it lets the first go.

#include <uv.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "worker/nats/broker_event.h"
#include "worker/nats/broker_link.h"
#include "worker/nats/event_queue.h"

namespace cosigner::worker {

struct BrokerOptions {
  ipc::BrokerAccess access;
  LinkOptions link;
  EventQueue::Limits incoming;
  /// Published and not yet taken by the socket. The message that passes it is the last.
  std::size_t unwritten_bytes = 32U << 20;
};

class BrokerConnection {
 public:
  /// Answers of the loop's own process and its parent take less than a millisecond each; the
  /// supervisor waits for a gateway for a second.
  static constexpr std::chrono::milliseconds kLinger{800};

  /// Called from the loop's thread. None may destroy the connection.
  struct Handlers {
    std::function<void(BrokerMessage message)> on_message;
    std::function<void(const BrokerStateChange& change)> on_state;
    std::function<void(const BrokerProblem& problem)> on_problem;
    /// After a batch of the above: time to act on what they brought.
    std::function<void()> on_batch_end;
    /// After drain(): no message comes any more. Without this handler close() follows by itself.
    std::function<void()> on_drained{};
  };

  BrokerConnection(uv_loop_t* loop, BrokerOptions options, Ed25519SecretKey key, Handlers handlers);
  /// Closes if close() was not called; waits for the thread (a few milliseconds; up to the connect
  /// timeout against a broker that is mute). The loop must run once more to free its handle.
  ~BrokerConnection();
  BrokerConnection(const BrokerConnection&) = delete;
  BrokerConnection& operator=(const BrokerConnection&) = delete;

  /// False, and nothing is sent, while there is no broker or when too much is unwritten: the caller
  /// sends again later or lets it be. True promises nothing either.
  bool publish(const Outgoing& message);
  /// Replaces the credentials: a new link first, then the old one is drained. Nothing is lost;
  /// around the change a message may come twice.
  void renew(ipc::BrokerAccess access);
  /// Sends what is unwritten, hands over what has come, ends with kClosed.
  void close();
  /// A close() in two steps, so that what has come can be answered: ends the subscriptions, hands
  /// over what came before their end, and then on_drained; publish() works until close() is called,
  /// or for kLinger after that. Without a broker kClosed comes at once.
  void drain();

  [[nodiscard]] bool subscribed() const;
  /// Messages that publish() refused.
  [[nodiscard]] std::uint64_t refused() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cosigner::worker
