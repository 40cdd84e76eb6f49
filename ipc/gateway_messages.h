#pragma once
// Between the supervisor and the gateway.

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/message_parts.h"

namespace cosigner::ipc {

struct GatewayHello {
  Ed25519PublicKey signing_key;
  Ed25519PublicKey broker_key;
  COSIGNER_MESSAGE(kGatewayHello, signing_key, broker_key)
};
struct GatewayStart {
  std::string cluster;
  std::string node;
  std::uint64_t generation = 0;
  ByteVector certificate;
  BrokerAccess broker;
  std::vector<Peer> peers;
  std::vector<Initiator> initiators;
  Settings settings;
  COSIGNER_MESSAGE(kGatewayStart, cluster, node, generation, certificate, broker, peers, initiators,
                   settings)
};
struct GatewayReady {
  std::uint32_t threads = 0;
  COSIGNER_MESSAGE(kGatewayReady, threads)
};
/// A request that passed the gateway's checks.
struct GatewayRequest {
  std::uint64_t request = 0;  ///< the gateway's number for it
  std::string user;
  std::string key;
  std::string operation;
  std::string
      woken_by;  ///< peer node whose gateway forwarded it (nobody waits for an answer), or empty
  SessionId session;
  ByteVector envelope;
  COSIGNER_MESSAGE(kGatewayRequest, request, user, key, operation, woken_by, session, envelope)
};
struct GatewayAnswer {
  std::uint64_t request = 0;
  ByteVector envelope;  ///< answer envelope, published as it is
  COSIGNER_MESSAGE(kGatewayAnswer, request, envelope)
};
/// Publish a client's envelope for the control socket; answers come back one by one until
/// PublishDone.
struct PublishRequest {
  std::uint64_t publish = 0;
  ByteVector envelope;
  COSIGNER_MESSAGE(kPublishRequest, publish, envelope)
};
struct PublishedAnswer {
  std::uint64_t publish = 0;
  ByteVector envelope;
  COSIGNER_MESSAGE(kPublishedAnswer, publish, envelope)
};
struct PublishFailed {
  std::uint64_t publish = 0;
  std::string error_name;
  std::string error_message;
  COSIGNER_MESSAGE(kPublishFailed, publish, error_name, error_message)
};
struct PublishDone {
  std::uint64_t publish = 0;
  COSIGNER_MESSAGE(kPublishDone, publish)
};
struct PublishWake {
  std::string node;
  ByteVector envelope;
  COSIGNER_MESSAGE(kPublishWake, node, envelope)
};
struct PeerPresence {
  std::string node;
  bool present = false;
  COSIGNER_MESSAGE(kPeerPresence, node, present)
};
struct BrokerState {
  bool connected = false;
  std::string detail;
  COSIGNER_MESSAGE(kBrokerState, connected, detail)
};

}  // namespace cosigner::ipc
