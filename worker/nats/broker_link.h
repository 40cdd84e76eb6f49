#pragma once
// One nats.c connection with its subscriptions, from connect to close. The only place that calls
// nats.c (3.4.1). The connection is attached to an event loop (natsOptions_SetEventLoop), not to
// threads of the library: a message costs the process one wake-up instead of four.
//
// What nats.c 3.4.1 gets wrong in that mode is kept out of its way:
//   - it never reconnects (its reconnect holds the lock during the handshake): a link that is lost
//     is replaced by a new one, so that the first connection, a restart of the broker, refused
//     credentials and renewed ones all take the same way;
//   - its ping timer, which would close the socket under the loop's hands, is off: liveness is
//     flush(), asked by the thread that owns the link;
//   - the loop polls a descriptor of its own, a duplicate: nats.c may close the other when it
//   likes;
//   - closing waits until the loop has let the link go, and what is unwritten has an owner's bound
//     (unwritten()) and a deadline (LinkPump): nats.c has neither;
//   - its callbacks for errors may come after the one for the end: they know the link by a number;
//   - a broker that falls silent between its INFO and its first PONG keeps natsConnection_Connect,
//     and the thread that owns the link, busy until it speaks or closes: this one is not avoided;
//   - no TLS: the broker is the node's own, on this host.

#include <nats/nats.h>

#include <chrono>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "crypto/identity/ed25519_key.h"
#include "ipc/message_parts.h"
#include "worker/nats/broker_event.h"

namespace cosigner::worker {

struct LinkCallbacks {
  /// From receive().
  std::function<void(BrokerMessage)> on_message;
  /// What came on `no_responders_subject`: from a thread of nats.c; must neither block nor throw.
  std::function<void(BrokerMessage)> on_no_responders;
  /// There is something to send(). From any thread; must neither block nor call the link.
  std::function<void()> on_unwritten;
  /// These two come from a thread of nats.c and must neither block nor throw.
  std::function<void(std::string reason)> on_lost;  ///< once, unless closed by us
  std::function<void(BrokerProblem)> on_problem;
};

struct LinkOptions {
  std::string name;  ///< shown in the server's connection list
  std::vector<std::string> subjects;
  /// Where the server says (503) that nobody subscribes to what was published; empty: nowhere. None
  /// of `subjects` may match it. It is apart because nats.c hands such a message over with its
  /// subject by callback only, from a thread of its own.
  std::string no_responders_subject{};
  /// What is read at once, and the least that the buffer for what goes out holds; that one grows
  /// with the largest message.
  int buffer_bytes = 16 << 10;
  std::chrono::milliseconds ping_interval{10'000};  ///< two unanswered ones lose the link
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds write_deadline{1'000};  ///< of a server that does not read
};

class BrokerLink {
 public:
  // ---- the thread that owns the link; blocks

  /// Connects and asks for the subscriptions, which stand once flush() has succeeded and refused()
  /// has nothing to say. `key` signs the server's nonce; it is not used when the JWT is empty (a
  /// broker without authentication).
  [[nodiscard]] static std::expected<std::unique_ptr<BrokerLink>, std::string> open(
      const LinkOptions& options, const ipc::BrokerAccess& access, const Ed25519SecretKey& key,
      LinkCallbacks callbacks);
  /// Closes; no callback is running or comes any more afterwards. The loop must have let it go.
  ~BrokerLink();
  BrokerLink(const BrokerLink&) = delete;
  BrokerLink& operator=(const BrokerLink&) = delete;

  enum class FlushStatus : std::uint8_t { kDone, kTimeout, kBroken };
  /// Waits until what was published has reached the server and what it had sent until then has been
  /// received, while the loop's thread sends and receives.
  [[nodiscard]] FlushStatus flush(std::chrono::milliseconds timeout);
  /// Why the server refused a subscription, if it did; to be asked after flush().
  [[nodiscard]] std::expected<void, std::string> refused() const;
  /// What nats.c says of the last failure in this thread.
  [[nodiscard]] static std::string last_error();
  /// Ends the subscriptions and waits until what had come until then has been handed over.
  void drain(std::chrono::milliseconds timeout);
  /// Whether messages have come since it was last asked.
  [[nodiscard]] bool heard();

  // ---- the loop's thread; never blocks

  /// To poll: a duplicate of the socket, which lives as long as the link.
  [[nodiscard]] int descriptor() const;
  /// Nothing comes or goes any more.
  [[nodiscard]] bool ended() const;

  enum class PublishStatus : std::uint8_t {
    kPublished,  ///< to be sent with the next send()
    kRefused,    ///< larger than the server allows, or no valid subject
    kBroken      ///< the connection is of no more use
  };
  [[nodiscard]] PublishStatus publish(const Outgoing& message);
  struct Unwritten {
    std::size_t bytes = 0;
    std::size_t messages = 0;  ///< published since there was nothing unwritten
  };
  [[nodiscard]] Unwritten unwritten() const;
  [[nodiscard]] bool wants_to_send() const;
  /// Writes what the socket takes; to be called when wants_to_send() only.
  void send();
  /// Reads what has come, 16 MiB at most, and hands it over.
  void receive();

 private:
  struct State;
  void take_from(natsSubscription* subscription);
  explicit BrokerLink(std::unique_ptr<State> state);
  [[nodiscard]] std::expected<void, std::string> connect(const LinkOptions& options,
                                                         const ipc::BrokerAccess& access);
  [[nodiscard]] std::expected<void, std::string> subscribe(const LinkOptions& options);

  std::unique_ptr<State> state_;
};

}  // namespace cosigner::worker
