#include "tests/support/simulated_store.h"

#include <stdexcept>

#include "ipc/key_record.h"

namespace cosigner::test {

ipc::Stored SimulatedStore::apply(const ipc::Burn& order) {
  const auto key = active.find(order.key);
  if (fail_burn || key == active.end() || key->second.epoch != order.epoch) {
    return failed(order.order, fail_burn ? ErrorCode::kStorageFailed : ErrorCode::kUnknownKey);
  }
  Pair& pair = pairs[{order.key, order.peer}];
  if (!order.failed && !pair.banned) {
    return failed(order.order, ErrorCode::kConflict);
  }
  if (order.failed) {
    pair.epoch = order.epoch;
    pair.banned = true;
    pair.renewal = ipc::PairRenewal::kNone;
  }
  key->second.sealed_share = order.sealed_share;
  return done(order.order);
}

ipc::Stored SimulatedStore::apply(const ipc::StoreRenewed& order) {
  const auto found = pairs.find({order.key, order.peer});
  const bool ordered = found != pairs.end() && found->second.renewal != ipc::PairRenewal::kNone;
  if (found != pairs.end() && found->second.banned && !ordered) {
    return failed(order.order, ErrorCode::kBanned);
  }
  if (ordered) {
    found->second.renewal = ipc::PairRenewal::kStored;
  }
  active.at(order.key).sealed_share = order.sealed_share;
  return done(order.order);
}

ipc::Stored SimulatedStore::apply(const ipc::LiftBan& order) {
  const auto found = pairs.find({order.key, order.peer});
  if (found != pairs.end() && found->second.renewal != ipc::PairRenewal::kStored) {
    return failed(order.order, ErrorCode::kConflict);
  }
  if (fail_lifts > 0) {
    --fail_lifts;
    return failed(order.order, ErrorCode::kStorageFailed);
  }
  pairs.erase({order.key, order.peer});
  return done(order.order);
}

void SimulatedStore::strike(const ipc::Checking& check) {
  Pair& pair = pairs[{check.key, check.peer}];
  pair.epoch = check.epoch;
  if (++pair.strikes >= 3 && !pair.banned) {
    pair.banned = true;
    pair.renewal = ipc::PairRenewal::kNone;
  }
}

ipc::Stored SimulatedStore::apply(const ipc::StorePending& order, std::uint64_t worker_generation) {
  const Digest digest = acknowledgement_digest(order.key.record);
  const auto other = pending.find(order.key.key);
  const auto done = active.find(order.key.key);
  if (fail_pending) {
    return failed(order.order, ErrorCode::kStorageFailed);
  }
  if (refused.contains(digest) ||
      (other != pending.end() && other->second.record != order.key.record) ||
      (done != active.end() && done->second.epoch >= order.key.epoch)) {
    return failed(order.order, ErrorCode::kConflict);
  }
  pending[order.key.key] = order.key;
  acknowledged.insert(digest);
  return stated(order.order, StatementKind::kKeyAcknowledgement, worker_generation, order.key.key,
                order.key.epoch, order.key.session, digest);
}

ipc::Stored SimulatedStore::apply(const ipc::StoreActivate& order) {
  if (fail_activations > 0) {
    --fail_activations;
    return failed(order.order, ErrorCode::kStorageFailed);
  }
  const auto found = pending.find(order.key);
  if (found == pending.end() || found->second.session != order.session) {
    return failed(order.order, ErrorCode::kConflict);
  }
  const auto record = decode_key_record(found->second.record);
  const auto all = decode_commit_certificate(order.certificate);
  if (!record || !all || !verify_acknowledgements(*record, found->second.record, *all, peers_)) {
    throw std::logic_error("a certificate that does not verify reached the store");
  }
  ipc::StoredKey key = found->second;
  key.state = ipc::KeyState::kActive;
  key.certificate = order.certificate;
  pending.erase(found);
  active[order.key] = key;
  return {.order = order.order, .ok = true, .error_name = {}, .error_message = {}, .statement = {}};
}

ipc::Stored SimulatedStore::apply(const ipc::StoreDiscard& order) {
  if (fail_discards > 0) {
    --fail_discards;
    return failed(order.order, ErrorCode::kStorageFailed);
  }
  const auto found = pending.find(order.key);
  const auto refusal = decode_statement(order.refusal);
  if (found == pending.end() || !refusal) {
    return failed(order.order, ErrorCode::kConflict);
  }
  const bool valid = refusal->kind == StatementKind::kKeyRefusal &&
                     refusal->digest == acknowledgement_digest(found->second.record) &&
                     verify_statement(*refusal, identity_of(refusal->node));
  if (!valid) {
    throw std::logic_error("a refusal that does not verify reached the store");
  }
  pending.erase(found);
  discarded[refusal->digest] = order.refusal;
  return {.order = order.order, .ok = true, .error_name = {}, .error_message = {}, .statement = {}};
}

ipc::Stored SimulatedStore::apply(const ipc::StoreRefusal& order, std::uint64_t worker_generation) {
  if (const auto kept = discarded.find(order.digest); kept != discarded.end()) {
    ipc::Stored told = done(order.order);
    told.statement = kept->second;
    return told;
  }
  if (acknowledged.contains(order.digest)) {
    return failed(order.order, ErrorCode::kConflict);
  }
  refused.insert(order.digest);
  return stated(order.order, StatementKind::kKeyRefusal, worker_generation, order.key, order.epoch,
                order.session, order.digest);
}

void SimulatedStore::apply(const ipc::StoreResult& order) {
  results[order.session] = order.answer;
  ids[{order.initiator, order.id}] = order.session;
}

ipc::ResultFound SimulatedStore::apply(const ipc::ResultLookup& order) const {
  ipc::ResultFound found{
      .order = order.order, .found = false, .replayed = false, .failed = unreadable, .answer = {}};
  if (unreadable) {
    return found;
  }
  if (const auto result = results.find(order.session); result != results.end()) {
    found.found = true;
    found.answer = result->second;
  }
  const auto id = ids.find({order.initiator, order.id});
  found.replayed = id != ids.end() && id->second != order.session;
  return found;
}

ipc::Stored SimulatedStore::done(std::uint64_t order) {
  return {.order = order, .ok = true, .error_name = {}, .error_message = {}, .statement = {}};
}

ipc::Stored SimulatedStore::failed(std::uint64_t order, ErrorCode code) {
  return {.order = order,
          .ok = false,
          .error_name = std::string(error_name(code)),
          .error_message = "simulated",
          .statement = {}};
}

ipc::Stored SimulatedStore::stated(std::uint64_t order, StatementKind kind,
                                   std::uint64_t worker_generation, const std::string& key,
                                   std::uint64_t epoch, const SessionId& session,
                                   const Digest& digest) {
  Statement statement{.kind = kind,
                      .cluster = cluster_,
                      .node = node_,
                      .user = user_,
                      .generation = worker_generation,
                      .key = key,
                      .epoch = epoch,
                      .session = session,
                      .digest = digest,
                      .signature = {}};
  sign_statement(statement, identity_);
  return {.order = order,
          .ok = true,
          .error_name = {},
          .error_message = {},
          .statement = encode_statement(statement)};
}

const Ed25519PublicKey& SimulatedStore::identity_of(const std::string& node) const {
  for (const ipc::Peer& peer : peers_) {
    if (peer.node == node) {
      return peer.identity;
    }
  }
  throw std::logic_error("unknown node");
}

}  // namespace cosigner::test
