#pragma once
// Every message that crosses a process boundary on one node. A struct lists its fields in wire
// order in `fields()`; ipc/codec.h encodes and strictly decodes from that list (exact count, exact
// types, bounded sizes). A new message gets a new number; a changed one gets a new frame version
// (ipc/frame.h).

#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"
#include "ipc/error.h"

namespace cosigner::ipc {

enum class MessageType : std::uint16_t {
  // supervisor ↔ zygote
  kZygoteReady = 1,
  kForkOrder = 2,
  kForkResult = 3,
  // supervisor ↔ worker
  kWorkerHello = 10,
  kWorkerStart = 11,
  kWorkerReady = 12,
  kWork = 13,
  kAnswer = 14,
  kStorePending = 15,
  kStoreActivate = 16,
  kStoreDiscard = 17,
  kStoreRefusal = 18,
  kStored = 19,
  kStoreResult = 20,
  kResultLookup = 21,
  kResultFound = 22,
  kWake = 23,
  kPresence = 24,
  kEvictAsk = 25,
  kEvictReply = 26,
  kRenewAsk = 27,
  kRenewed = 28,
  kTick = 29,
  kPresignatureStock = 36,
  kChecking = 30,
  kChecked = 31,
  kBurn = 32,
  kStoreRenewed = 33,
  kLiftBan = 34,
  kRenewPair = 35,
  kStartKeys = 50,
  kStartKeysTaken = 51,
  kSandboxed = 52,
  kWorkerMetrics = 45,
  // both worker and gateway
  kHeartbeat = 40,
  kDrain = 41,
  kLog = 42,
  kReconfigured = 43,
  // supervisor ↔ gateway
  kGatewayHello = 60,
  kGatewayStart = 61,
  kGatewayReady = 62,
  kGatewayRequest = 63,
  kGatewayAnswer = 64,
  kPublishRequest = 65,
  kPublishedAnswer = 66,
  kPublishFailed = 67,
  kPublishDone = 68,
  kPublishWake = 69,
  kPeerPresence = 70,
  kBrokerState = 71,
  kGatewayMetrics = 46,
  // supervisor ↔ exporter
  kMetricsAsk = 80,
  kMetricsSnapshot = 81,
  // cosignerctl ↔ supervisor
  kControlCall = 90,
  kControlReply = 91,
  kControlCancel = 92,
};

enum class Role : std::uint8_t { kWorker = 1, kGateway = 2 };

#define COSIGNER_MESSAGE(TYPE, ...)                       \
  static constexpr MessageType kType = MessageType::TYPE; \
  auto fields() {                                         \
    return std::tie(__VA_ARGS__);                         \
  }                                                       \
  auto fields() const {                                   \
    return std::tie(__VA_ARGS__);                         \
  }
#define COSIGNER_PART(...)        \
  auto fields() {                 \
    return std::tie(__VA_ARGS__); \
  }                               \
  auto fields() const {           \
    return std::tie(__VA_ARGS__); \
  }

// ---- parts

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

// ---- zygote

struct ZygoteReady {
  std::int32_t pid = 0;
  COSIGNER_MESSAGE(kZygoteReady, pid)
};
/// Carries the child's end of its socket as SCM_RIGHTS.
struct ForkOrder {
  std::uint64_t order = 0;
  Role role = Role::kWorker;
  std::string user;  ///< empty for the gateway
  std::uint64_t generation = 0;
  COSIGNER_MESSAGE(kForkOrder, order, role, user, generation)
};
struct ForkResult {
  std::uint64_t order = 0;
  std::int32_t pid = 0;  ///< 0: the fork failed
  std::string error;
  COSIGNER_MESSAGE(kForkResult, order, pid, error)
};

// ---- worker

/// First frame of a worker: the public halves of the keys it made after the fork.
struct WorkerHello {
  X25519PublicKey channel_key;
  Ed25519PublicKey signing_key;
  Ed25519PublicKey broker_key;
  COSIGNER_MESSAGE(kWorkerHello, channel_key, signing_key, broker_key)
};
struct WorkerStart {
  std::string cluster;
  std::string node;
  std::string user;
  std::uint64_t generation = 0;
  ByteVector certificate;
  BrokerAccess broker;
  SecretVector sealing_key;  ///< 32 bytes: opens and seals this user's shares
  std::vector<Peer> peers;   ///< all nodes of the cluster, this one included
  std::vector<Initiator> initiators;
  std::vector<StoredKey> keys;       ///< active and pending epochs of this user
  std::vector<PairStanding> pairs;   ///< bans and renewals of this user's keys
  std::vector<std::string> present;  ///< nodes whose gateway is present now
  Settings settings;
  COSIGNER_MESSAGE(kWorkerStart, cluster, node, user, generation, certificate, broker, sealing_key,
                   peers, initiators, keys, pairs, present, settings)
};
/// The broker has acknowledged the worker's subscription.
struct WorkerReady {
  std::uint32_t threads = 0;
  COSIGNER_MESSAGE(kWorkerReady, threads)
};
struct Work {
  std::uint64_t request = 0;  ///< the supervisor's number for it; the answer repeats it
  ByteVector envelope;        ///< the original bytes
  COSIGNER_MESSAGE(kWork, request, envelope)
};
/// Exactly one for each Work. The supervisor adds the statement and passes it on.
struct Answer {
  std::uint64_t request = 0;
  std::string key;
  std::uint64_t epoch = 0;
  SessionId session;
  ByteVector answer;  ///< ipc/answer.h
  COSIGNER_MESSAGE(kAnswer, request, key, epoch, session, answer)
};
/// Make a new share durable; on success the supervisor signs a key-acknowledgement over
/// H(kKeyAcknowledgement; record). The same record of the same session again is no conflict: it
/// is acknowledged again (a worker does so after a restart); a record that was refused is.
struct StorePending {
  std::uint64_t order = 0;
  StoredKey key;
  COSIGNER_MESSAGE(kStorePending, order, key)
};
/// pending → active; the epoch before it is erased in the same transaction.
struct StoreActivate {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  SessionId session;
  ByteVector certificate;
  COSIGNER_MESSAGE(kStoreActivate, order, key, epoch, session, certificate)
};
/// Drop a pending epoch: another participant's signed refusal is the licence.
struct StoreDiscard {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  SessionId session;
  ByteVector refusal;  ///< encoded statement of kind key-refusal
  COSIGNER_MESSAGE(kStoreDiscard, order, key, epoch, session, refusal)
};
/// Promise durably never to acknowledge the record with this digest; answered with a signed
/// key-refusal over it. Fails with `conflict` if that very record was acknowledged. The refusal is
/// of one record and not of the session, so that a later attempt of the same session may still make
/// the key: a retry with the same request finishes it.
struct StoreRefusal {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  SessionId session;
  Digest digest;  ///< H(kKeyAcknowledgement; record bytes) of the share a peer holds pending
  COSIGNER_MESSAGE(kStoreRefusal, order, key, epoch, session, digest)
};
/// The store's answer to an order. `statement` is an encoded statement where one was asked for.
struct Stored {
  std::uint64_t order = 0;
  bool ok = false;
  std::string error_name;
  std::string error_message;
  ByteVector statement;
  COSIGNER_MESSAGE(kStored, order, ok, error_name, error_message, statement)
};
/// A success, written behind in groups (≤ 50 ms) unless `order` ≠ 0, which asks for a Stored once
/// it is durable.
struct StoreResult {
  std::uint64_t order = 0;
  SessionId session;
  Ed25519PublicKey initiator;
  Bytes<16> id;
  std::uint64_t keep_until_ms = 0;
  ByteVector answer;
  COSIGNER_MESSAGE(kStoreResult, order, session, initiator, id, keep_until_ms, answer)
};
struct ResultLookup {
  std::uint64_t order = 0;
  SessionId session;
  Ed25519PublicKey initiator;
  Bytes<16> id;
  COSIGNER_MESSAGE(kResultLookup, order, session, initiator, id)
};
struct ResultFound {
  std::uint64_t order = 0;
  bool found = false;     ///< `answer` is the stored one of this session
  bool replayed = false;  ///< the same initiator and id belong to another session
  bool failed = false;    ///< the store could not be read: nothing is known
  ByteVector answer;
  COSIGNER_MESSAGE(kResultFound, order, found, replayed, failed, answer)
};
/// Forward this signed request to a peer's gateway.
struct Wake {
  std::string node;
  ByteVector envelope;
  COSIGNER_MESSAGE(kWake, node, envelope)
};
struct Presence {
  std::string node;
  bool present = false;
  COSIGNER_MESSAGE(kPresence, node, present)
};
struct EvictAsk {
  std::uint64_t ask = 0;
  COSIGNER_MESSAGE(kEvictAsk, ask)
};
/// agree: nothing is in flight; the worker takes no more work, drains its broker connection and
/// exits 0.
struct EvictReply {
  std::uint64_t ask = 0;
  bool agree = false;
  COSIGNER_MESSAGE(kEvictReply, ask, agree)
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
/// How many presignatures of a key are in the worker's memory; sent when it has changed, at most
/// four times a second.
struct PresignatureStock {
  std::string key;
  std::uint64_t epoch = 0;
  std::uint32_t ready = 0;  ///< that this node may name when it coordinates
  std::uint32_t held = 0;   ///< in all, those that other nodes may name included
  COSIGNER_MESSAGE(kPresignatureStock, key, epoch, ready, held)
};
/// A periodic, lossy nudge; not activity.
struct Tick {
  std::uint64_t number = 0;
  COSIGNER_MESSAGE(kTick, number)
};

/// The worker is about to check `peer`'s OT or VOLE messages against secrets of this epoch. Written
/// to the socket before the check begins; not answered. If the worker dies before the matching
/// Checked, the peer may have caused it: a strike, the third bans (dkls23.md §10).
struct Checking {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kChecking, key, epoch, peer)
};
/// The check is over and did not fail. (A failed one ends in a Burn.)
struct Checked {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kChecked, key, epoch, peer)
};
/// A check failed: ban the pair, and put the share without its OT state in the place of the stored
/// one, in one transaction. The worker lets nothing out that a peer or client could see before the
/// Stored that answers this.
struct Burn {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  bool failed = true;  ///< false: the pair is banned already (for strikes); only erase
  ByteVector sealed_share;
  COSIGNER_MESSAGE(kBurn, order, key, epoch, peer, failed, sealed_share)
};
/// Make the share with the pair's new OT state durable. A ban stays until LiftBan; without an
/// operator's order a banned pair's state is not taken.
struct StoreRenewed {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  ByteVector sealed_share;
  COSIGNER_MESSAGE(kStoreRenewed, order, key, epoch, peer, sealed_share)
};
/// Both nodes hold the new state durably: the ban and the order to renew are over.
struct LiftBan {
  std::uint64_t order = 0;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kLiftBan, order, key, epoch, peer)
};
/// To the worker: an operator has ordered the renewal of this pair's OT state.
struct RenewPair {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  COSIGNER_MESSAGE(kRenewPair, key, epoch, peer)
};

// ---- worker and gateway

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
  std::uint8_t level = 2;  ///< 0 trace, 1 debug, 2 info, 3 warning, 4 error
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

// ---- gateway

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

// ---- control socket

struct ControlCall {
  std::uint64_t call = 0;
  std::string command;
  ByteVector arguments;  ///< msgpack map
  COSIGNER_MESSAGE(kControlCall, call, command, arguments)
};
/// One or more for each call; the last has `final`. `error_name` empty: success so far.
struct ControlReply {
  std::uint64_t call = 0;
  bool final = false;
  std::string error_name;
  std::string error_message;
  bool may_have_executed = false;
  ByteVector body;  ///< msgpack map
  COSIGNER_MESSAGE(kControlReply, call, final, error_name, error_message, may_have_executed, body)
};
struct ControlCancel {
  std::uint64_t call = 0;
  COSIGNER_MESSAGE(kControlCancel, call)
};

}  // namespace cosigner::ipc
