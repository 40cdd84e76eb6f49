#pragma once
// The connection of a worker or gateway to its broker, as its uv loop sees it: never blocks, hands
// everything over in the loop's own thread, and comes back by itself whenever the broker does.
//
//   BrokerConnection broker(loop, options, std::move(key), {.on_message = …, .on_state = …});
//   … on_state(kSubscribed) …
//   broker.publish({subject, reply, payload});
//
// One thread of ours owns the link: it connects, subscribes, publishes, replaces a lost link after
// 10 to 50 ms (doubling up to 1 s, with jitter), and on new credentials brings up a second link
// before it lets the first go. nats.c itself never runs on the loop's thread, where it could block.

#include <uv.h>

#include <functional>
#include <memory>
#include <string>

#include "worker/nats/broker_event.h"
#include "worker/nats/broker_link.h"
#include "worker/nats/event_queue.h"
#include "worker/nats/outbox.h"

namespace cosigner::worker {

struct BrokerOptions {
  ipc::BrokerAccess access;
  LinkOptions link;
  EventQueue::Limits incoming;
  Outbox::Limits outgoing;
};

class BrokerConnection {
 public:
  /// Called from the loop's thread. None may destroy the connection.
  struct Handlers {
    std::function<void(BrokerMessage message)> on_message;
    std::function<void(const BrokerStateChange& change)> on_state;
    std::function<void(const BrokerProblem& problem)> on_problem;
    /// After a batch of the above: time to act on what they brought.
    std::function<void()> on_batch_end;
  };

  BrokerConnection(uv_loop_t* loop, BrokerOptions options, Ed25519SecretKey key, Handlers handlers);
  /// Closes if close() was not called; waits for the thread (a few milliseconds; up to the connect
  /// timeout against a broker that is mute). The loop must run once more to free its handle.
  ~BrokerConnection();
  BrokerConnection(const BrokerConnection&) = delete;
  BrokerConnection& operator=(const BrokerConnection&) = delete;

  /// False, and nothing is sent, while there is no broker or when the queue is full: the caller
  /// sends again later or lets it be. True promises nothing either.
  bool publish(Outgoing message);
  /// Replaces the credentials: a new link first, then the old one is drained. Nothing is lost;
  /// around the change a message may come twice.
  void renew(ipc::BrokerAccess access);
  /// Sends what is queued, hands over what has come, ends with kClosed.
  void close();

  [[nodiscard]] bool subscribed() const;
  /// Messages that publish() refused.
  [[nodiscard]] std::uint64_t refused() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace cosigner::worker
