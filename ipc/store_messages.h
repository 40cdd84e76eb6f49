#pragma once
// A worker's orders at the store of its node, and the store's answers.

#include <cstdint>
#include <string>

#include "crypto/base/bytes.h"
#include "ipc/message_parts.h"

namespace cosigner::ipc {

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
/// key-refusal over it; with another participant's if this node acknowledged the record and then
/// discarded it on that one. Fails with `conflict` if it acknowledged it and holds to that. The
/// refusal is of one record and not of the session, so that a later attempt of the same session may
/// still make the key: a retry with the same request finishes it.
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

}  // namespace cosigner::ipc
