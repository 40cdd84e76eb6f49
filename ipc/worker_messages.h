#pragma once
// Between the supervisor and a user's worker: its start, its work, its end. Its orders at the store
// are in store_messages.h, the OT state of pairs in pair_messages.h, and what it has in common with
// the gateway in child_messages.h.

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"
#include "ipc/message_parts.h"

namespace cosigner::ipc {

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
/// How many presignatures of a key are in the worker's memory; sent when it has changed, at most
/// four times a second.
struct PresignatureStock {
  std::string key;
  std::uint64_t epoch = 0;
  std::uint32_t ready = 0;  ///< that this node may name when it coordinates
  std::uint32_t held = 0;   ///< in all, those that other nodes may name included
  COSIGNER_MESSAGE(kPresignatureStock, key, epoch, ready, held)
};
/// A presignature has left the worker's memory for one attempt of one session. Sent before anything
/// made from it can reach a peer, and for the node's log only: its signers all say the same
/// `presignature` of the same session and attempt, each of them once, or one was used twice.
struct PresignatureUsed {
  std::string key;
  Digest presignature;  ///< its id: the same at every signer, nothing secret
  SessionId session;
  std::uint32_t attempt = 0;
  COSIGNER_MESSAGE(kPresignatureUsed, key, presignature, session, attempt)
};
/// Whether this epoch, as the store has it now, is what its certificate says. One at a time, so
/// that the worker's other work goes on in between.
struct VerifyKey {
  std::uint64_t number = 0;
  StoredKey key;
  COSIGNER_MESSAGE(kVerifyKey, number, key)
};
struct KeyVerified {
  std::uint64_t number = 0;
  KeyFault fault = KeyFault::kNone;
  COSIGNER_MESSAGE(kKeyVerified, number, fault)
};
/// A periodic, lossy nudge; not activity.
struct Tick {
  std::uint64_t number = 0;
  COSIGNER_MESSAGE(kTick, number)
};

}  // namespace cosigner::ipc
