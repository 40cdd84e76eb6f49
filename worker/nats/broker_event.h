#pragma once
// What comes from the broker to the loop, in the order in which it happened; what goes to it.

#include <cstdint>
#include <string>
#include <variant>

#include "crypto/base/bytes.h"

namespace cosigner::worker {

struct Outgoing {
  std::string subject;
  std::string reply;  ///< empty: none
  ByteVector payload;
};

/// Untrusted: the broker's permissions on its subject hold as far as the broker does.
struct BrokerMessage {
  std::string subject;
  std::string reply;  ///< empty if the sender wants no answer
  ByteVector payload;
  bool no_responders = false;  ///< the server's 503: nobody subscribes where we published
};

enum class BrokerState : std::uint8_t {
  kSubscribed,    ///< connected, and the broker has acknowledged every subscription
  kDisconnected,  ///< nothing goes out until the next kSubscribed; `detail` says why
  kClosed         ///< the last event, after close()
};
struct BrokerStateChange {
  BrokerState state = BrokerState::kDisconnected;
  std::string detail;
};

enum class BrokerProblemKind : std::uint8_t {
  kConnectFailed,  ///< an attempt failed; the next follows by itself
  kNotPermitted,   ///< the broker refused a subject to us
  kSlowConsumer,   ///< the loop did not keep up: `count` incoming messages were dropped
  kPublishFailed   ///< `count` outgoing messages were dropped
};
/// Something an operator should read; the connection looks after itself.
struct BrokerProblem {
  BrokerProblemKind kind = BrokerProblemKind::kConnectFailed;
  std::uint64_t count = 0;
  std::string detail;
};

/// After drain(): the subscriptions have ended, and every message has been handed over.
struct BrokerDrained {};

using BrokerEvent = std::variant<BrokerMessage, BrokerStateChange, BrokerProblem, BrokerDrained>;

}  // namespace cosigner::worker
