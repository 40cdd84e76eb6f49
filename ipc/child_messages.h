#pragma once
// What workers and the gateway alike say to the supervisor and hear from it.

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/message_parts.h"

namespace cosigner::ipc {

struct Heartbeat {
  std::uint32_t in_flight = 0;  ///< requests not answered yet
  std::uint32_t sessions = 0;   ///< sessions running, including those without a client here
  COSIGNER_MESSAGE(kHeartbeat, in_flight, sessions)
};
struct Drain {
  std::uint32_t deadline_ms = 0;
  COSIGNER_MESSAGE(kDrain, deadline_ms)
};
struct Log {
  LogLevel level = LogLevel::kInfo;
  std::string message;
  std::string session;  ///< hex, or empty
  COSIGNER_MESSAGE(kLog, level, message, session)
};
/// The configuration was read again. What runs goes on; what begins from now on follows these.
struct Reconfigured {
  std::vector<Peer> peers;  ///< all nodes of the cluster, this one included
  std::vector<Initiator> initiators;
  Settings settings;
  COSIGNER_MESSAGE(kReconfigured, peers, initiators, settings)
};

struct RenewAsk {
  std::uint64_t not_after = 0;  ///< of the certificate it holds, seconds since 1970
  COSIGNER_MESSAGE(kRenewAsk, not_after)
};
struct Renewed {
  ByteVector certificate;
  BrokerAccess broker;
  COSIGNER_MESSAGE(kRenewed, certificate, broker)
};

}  // namespace cosigner::ipc
