#pragma once
// One nats.c connection with its subscriptions, from connect to close. The only place that calls
// nats.c (3.4.1), in its default mode with its own threads. It never reconnects: a link that is
// lost is replaced by a new one, so that the first connection, a restart of the broker, refused
// credentials and renewed ones all take the same way (nats.c's own reconnect gives up after two
// refusals, holds its lock during the handshake, and does not say when its subscriptions stand
// again).

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
#include "worker/nats/outbox.h"

namespace cosigner::worker {

/// Called from nats.c's threads; must neither block nor throw.
struct LinkCallbacks {
  std::function<void(BrokerMessage)> on_message;
  std::function<void(std::string reason)> on_lost;  ///< once, unless closed by us
  std::function<void(BrokerProblem)> on_problem;
};

struct LinkOptions {
  std::string name;  ///< shown in the server's connection list
  std::vector<std::string> subjects;
  std::chrono::milliseconds ping_interval{10'000};  ///< two unanswered ones lose the link
  std::chrono::milliseconds connect_timeout{5'000};
  std::chrono::milliseconds write_deadline{1'000};  ///< of a server that does not read
};

class BrokerLink {
 public:
  /// Connects, subscribes, and waits until the server has acknowledged the subscriptions; blocks
  /// for as long as that takes, asking `give_up` about once a second. `key` signs the server's
  /// nonce; it is not used when the JWT is empty (a broker without authentication).
  [[nodiscard]] static std::expected<std::unique_ptr<BrokerLink>, std::string> open(
      const LinkOptions& options, const ipc::BrokerAccess& access, const Ed25519SecretKey& key,
      LinkCallbacks callbacks, const std::function<bool()>& give_up);
  /// Closes; no callback is running or comes any more afterwards.
  ~BrokerLink();
  BrokerLink(const BrokerLink&) = delete;
  BrokerLink& operator=(const BrokerLink&) = delete;

  enum class PublishStatus : std::uint8_t {
    kSent,
    kRefused,  ///< larger than the server allows, or no valid subject
    kBroken    ///< the connection is of no more use: part of a message may have been written
  };
  /// Blocks at most for the write deadline.
  [[nodiscard]] PublishStatus publish(const Outgoing& message);
  /// Waits until what was sent has reached the server.
  void flush(std::chrono::milliseconds timeout);
  /// Ends the subscriptions, then waits until what was sent has reached the server and what had
  /// come until then has been handed over.
  void drain(std::chrono::milliseconds timeout);

 private:
  struct State;
  explicit BrokerLink(std::unique_ptr<State> state);
  [[nodiscard]] std::expected<void, std::string> connect(const LinkOptions& options,
                                                         const ipc::BrokerAccess& access);
  [[nodiscard]] std::expected<void, std::string> subscribe(const LinkOptions& options,
                                                           const std::function<bool()>& give_up);

  std::unique_ptr<State> state_;
};

}  // namespace cosigner::worker
