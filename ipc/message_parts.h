#pragma once
// What several messages have in common: peers, initiators, stored keys, settings.

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/message_types.h"

namespace cosigner::ipc {

enum class Role : std::uint8_t { kWorker = 1, kGateway = 2 };

struct Peer {
  std::string node;
  Ed25519PublicKey identity;
  COSIGNER_PART(node, identity)
};

struct Initiator {
  std::string name;
  Ed25519PublicKey key;
  std::vector<std::string> operations;    ///< "keygen", "sign", … or "*"
  std::vector<std::string> users;         ///< exact ids, prefixes ending in '*', or "*"
  std::uint32_t requests_per_second = 0;  ///< 0: the node's default
  COSIGNER_PART(name, key, operations, users, requests_per_second)
};

enum class KeyState : std::uint8_t { kPending = 1, kActive = 2 };

/// One epoch of one key as the store keeps it. The worker sealed `sealed_share`; the supervisor
/// never opens it.
struct StoredKey {
  std::string key;
  std::uint64_t epoch = 0;
  KeyState state = KeyState::kPending;
  SessionId session;        ///< the session that made this epoch
  ByteVector record;        ///< ipc/key_record.h
  ByteVector sealed_share;  ///< crypto/identity/share_seal.h
  ByteVector certificate;   ///< commit certificate; empty while pending
  COSIGNER_PART(key, epoch, state, session, record, sealed_share, certificate)
};

/// What a worker finds wrong with a stored epoch of a key, the first of these that holds.
enum class KeyFault : std::uint8_t {
  kNone = 1,
  kRecord = 2,       ///< its record cannot be read, or is another key's or another node's
  kPeers = 3,        ///< a participant is no peer any more: its acknowledgement cannot be checked
  kCertificate = 4,  ///< the acknowledgements of its participants do not verify
  kSeal = 5,         ///< the share does not open under the user's sealing key for this record
  kShare = 6,        ///< what opens is not the secret of this node's certified public share
  kOtState = 7       ///< ECDSA: the pairwise OT state beside the share cannot be read
};

/// How far the renewal of a pair's OT state has come on this node, by an operator's order.
enum class PairRenewal : std::uint8_t {
  kNone = 1,     ///< not ordered
  kOrdered = 2,  ///< to be run
  kStored = 3    ///< the new state is durable here; whether also at the peer is not known yet
};

/// What the store says about this node's OT state of one key with one peer, where there is anything
/// to say (supervisor/store; worker/session/pairs.h).
struct PairStanding {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  bool banned = false;
  PairRenewal renewal = PairRenewal::kNone;
  COSIGNER_PART(key, epoch, peer, banned, renewal)
};

/// How loud a line is that a worker or the gateway has for the node's log.
enum class LogLevel : std::uint8_t { kDebug = 1, kInfo = 2, kWarning = 3, kError = 4 };

/// Timings and bounds of sessions and delivery; the same struct serves worker and gateway.
struct Settings {
  std::uint32_t attempt_timer_ms = 300;
  std::uint32_t keygen_attempt_timer_ms = 3000;
  std::uint32_t delivery_attempts = 10;
  std::uint32_t delivery_first_ms = 100;
  std::uint32_t delivery_cap_ms = 1000;
  std::uint32_t presence_interval_ms = 500;
  std::uint32_t presence_timeout_ms = 1500;
  std::uint32_t heartbeat_ms = 500;
  std::uint32_t sign_deadline_ms = 15000;
  std::uint32_t keygen_deadline_ms = 60000;
  std::uint32_t max_sessions = 256;          ///< of one user at once
  std::uint32_t requests_per_second = 2000;  ///< of one initiator at one gateway
  std::uint32_t max_envelope_bytes = 2U << 20;
  /// Presignatures that this node keeps for each ECDSA key in use, by itself, and that it lets each
  /// other participant keep with it. 0: none, and none are made but on request.
  std::uint32_t presignature_pool = 0;
  std::uint32_t presignature_limit = 8192;  ///< held for one key, those of requests included
  COSIGNER_PART(attempt_timer_ms, keygen_attempt_timer_ms, delivery_attempts, delivery_first_ms,
                delivery_cap_ms, presence_interval_ms, presence_timeout_ms, heartbeat_ms,
                sign_deadline_ms, keygen_deadline_ms, max_sessions, requests_per_second,
                max_envelope_bytes, presignature_pool, presignature_limit)
};

struct BrokerAccess {
  std::string url;  ///< nats://127.0.0.1:PORT
  std::string jwt;  ///< minted for the nkey in the hello
  COSIGNER_PART(url, jwt)
};

}  // namespace cosigner::ipc
