// Keys: promises, activation, refusals.

#include "ipc/key_record.h"
#include "ipc/names.h"
#include "supervisor/store/statements.h"

namespace cosigner::supervisor {
namespace {

constexpr std::uint64_t kStanding = 1;
constexpr std::uint64_t kDiscarded = 2;

/// Names no user: it goes into logs, whose lines have the user in a field, hashed where that is
/// asked for.
std::unexpected<Error> altered_row() {
  return fail(ErrorCode::kStorageFailed,
              "A stored row of the user does not carry this node's authentication: the store was "
              "altered outside of cosignerd; restore a backup.");
}

}  // namespace

Expected<std::vector<ipc::StoredKey>> Store::keys_of(const std::string& user) {
  return epochs_of(user, {});
}

Expected<Store::IntactKeys> Store::intact_keys_of(const std::string& user) {
  IntactKeys out;
  auto keys = epochs_of(user, {}, &out.altered);
  if (!keys) {
    return std::unexpected(keys.error());
  }
  out.keys = *std::move(keys);
  return out;
}

Expected<std::vector<std::string>> Store::key_owners() {
  std::vector<std::string> out;
  auto run = sql_->key_owners.run();
  const auto all = run.each([&]() -> Expected<void> {
    out.push_back(run.text(0));
    return {};
  });
  return all ? Expected<std::vector<std::string>>(std::move(out)) : std::unexpected(all.error());
}

/// All keys if `key` is empty.
Expected<std::vector<ipc::StoredKey>> Store::epochs_of(const std::string& user,
                                                       const std::string& key,
                                                       std::vector<std::string>* altered_keys) {
  std::vector<ipc::StoredKey> out;
  auto run = key.empty() ? sql_->keys_of_user.run(user) : sql_->epochs_of_key.run(user, key);
  const auto all = run.each([&]() -> Expected<void> {
    const Digest expected =
        mac("keys", {as_bytes(user), run.blob(0), Number(run.integer(1)), Number(run.integer(2)),
                     run.blob(3), run.blob(4), run.blob(5), run.blob(6)});
    const std::uint64_t state = run.integer(2);
    if (!constant_time_equal(expected, run.blob(7)) ||
        (state != static_cast<std::uint64_t>(ipc::KeyState::kPending) &&
         state != static_cast<std::uint64_t>(ipc::KeyState::kActive))) {
      if (altered_keys == nullptr) {
        return altered_row();
      }
      altered_keys->push_back(run.text(0));
      return {};
    }
    out.push_back({.key = run.text(0),
                   .epoch = run.integer(1),
                   .state = static_cast<ipc::KeyState>(state),
                   .session = run.fixed<SessionId>(3),
                   .record = to_vector(run.blob(4)),
                   .sealed_share = to_vector(run.blob(5)),
                   .certificate = to_vector(run.blob(6))});
    return {};
  });
  return all ? Expected<std::vector<ipc::StoredKey>>(std::move(out)) : std::unexpected(all.error());
}

Expected<void> Store::write_key(const std::string& user, const ipc::StoredKey& key) {
  const auto state = static_cast<std::uint64_t>(key.state);
  return sql_->put_key
      .run(user, key.key, key.epoch, state, key.session, key.record, key.sealed_share,
           key.certificate,
           mac("keys", {as_bytes(user), as_bytes(key.key), Number(key.epoch), Number(state),
                        key.session, key.record, key.sealed_share, key.certificate}))
      .execute();
}

Expected<void> Store::erase_key(const std::string& user, const std::string& key,
                                std::uint64_t epoch) {
  erased_ = true;
  return sql_->erase_key.run(user, key, epoch).execute();
}

Expected<std::uint64_t> Store::acknowledged(const std::string& user, const Digest& digest) {
  auto run = sql_->get_acknowledgement.run(user, digest);
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (!*row) {
    return 0;
  }
  if (!constant_time_equal(
          mac("acknowledgements", {as_bytes(user), digest, run.blob(0), Number(run.integer(1)),
                                   Number(run.integer(2))}),
          run.blob(3))) {
    return altered_row();
  }
  return run.integer(2);
}

Expected<void> Store::set_acknowledged(const std::string& user, const std::string& key,
                                       std::uint64_t epoch, const Digest& digest,
                                       std::uint64_t state) {
  return sql_->put_acknowledgement
      .run(user, digest, key, epoch, state,
           mac("acknowledgements",
               {as_bytes(user), digest, as_bytes(key), Number(epoch), Number(state)}))
      .execute();
}

Expected<bool> Store::refused(const std::string& user, const Digest& digest) {
  auto run = sql_->get_refusal.run(user, digest);
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (*row && !constant_time_equal(mac("refusals", {as_bytes(user), digest, run.blob(0),
                                                    Number(run.integer(1)), run.blob(2)}),
                                   run.blob(3))) {
    return altered_row();
  }
  return *row;
}

Expected<void> Store::store_pending(const std::string& user, const ipc::StoredKey& key) {
  const auto record = decode_key_record(key.record);
  if (!record) {
    return std::unexpected(record.error());
  }
  if (record->cluster != identity_.cluster || record->user != user || record->key != key.key ||
      record->epoch != key.epoch || record->session != key.session ||
      record->index_of(identity_.node) == 0 || key.sealed_share.empty()) {
    return fail(ErrorCode::kBadRequest, "the key record does not fit the order to store it");
  }
  const Digest digest = acknowledgement_digest(key.record);
  const auto before = acknowledged(user, digest);
  if (!before) {
    return std::unexpected(before.error());
  }
  const auto epochs = epochs_of(user, key.key);
  if (!epochs) {
    return std::unexpected(epochs.error());
  }
  std::uint64_t newest = 0;
  for (const ipc::StoredKey& known : *epochs) {
    newest = std::max(newest, known.epoch);
    if (known.record == key.record) {
      return {};  // acknowledged, and kept: said again after a restart
    }
    if (known.state == ipc::KeyState::kPending) {
      return fail(ErrorCode::kConflict,
                  "another change of this key is acknowledged and not settled yet");
    }
    if (known.epoch >= key.epoch) {
      return key.epoch == 1 ? fail(ErrorCode::kAlreadyExists, "a key of that name exists")
                            : fail(ErrorCode::kConflict, "this epoch of the key is over");
    }
  }
  if (key.epoch != newest + 1) {
    return fail(ErrorCode::kConflict, "epoch " + std::to_string(key.epoch) +
                                          " does not follow epoch " + std::to_string(newest));
  }
  if (*before != 0) {
    return fail(ErrorCode::kConflict, "this record was acknowledged and given up before");
  }
  const auto was_refused = refused(user, digest);
  if (!was_refused) {
    return std::unexpected(was_refused.error());
  }
  if (*was_refused) {
    return fail(ErrorCode::kConflict, "this node has refused this record for good");
  }
  ipc::StoredKey pending = key;
  pending.state = ipc::KeyState::kPending;
  pending.certificate.clear();
  if (auto done = write_key(user, pending); !done) {
    return done;
  }
  return set_acknowledged(user, key.key, key.epoch, digest, kStanding);
}

Expected<void> Store::activate(const std::string& user, const ipc::StoreActivate& order) {
  if (!valid_key_name(order.key)) {  // to epochs_of(), "" is every key of the user
    return fail(ErrorCode::kBadRequest, "this is no key name");
  }
  auto epochs = epochs_of(user, order.key);
  if (!epochs) {
    return std::unexpected(epochs.error());
  }
  const auto found = std::ranges::find(*epochs, order.epoch, &ipc::StoredKey::epoch);
  if (found == epochs->end()) {
    return fail(ErrorCode::kUnknownKey, "no share of this epoch is stored");
  }
  if (found->session != order.session) {
    return fail(ErrorCode::kConflict, "the stored share of this epoch is another session's");
  }
  if (found->state == ipc::KeyState::kActive) {
    return {};
  }
  const auto record = decode_key_record(found->record);
  if (!record) {
    return std::unexpected(record.error());
  }
  const auto certificate = decode_commit_certificate(order.certificate);
  if (!certificate) {
    return std::unexpected(certificate.error());
  }
  if (auto verified =
          verify_acknowledgements(*record, found->record, *certificate, identity_.peers);
      !verified) {
    return verified;
  }
  found->state = ipc::KeyState::kActive;
  found->certificate = order.certificate;
  if (auto done = write_key(user, *found); !done) {
    return done;
  }
  for (const ipc::StoredKey& old : *epochs) {
    if (old.epoch < order.epoch) {
      if (auto done = erase_key(user, old.key, old.epoch); !done) {
        return done;
      }
    }
  }
  return {};
}

Expected<void> Store::discard(const std::string& user, const ipc::StoreDiscard& order) {
  if (!valid_key_name(order.key)) {
    return fail(ErrorCode::kBadRequest, "this is no key name");
  }
  const auto refusal = decode_statement(order.refusal);
  if (!refusal) {
    return fail(ErrorCode::kBadRequest, "the refusal cannot be read: " + refusal.error());
  }
  const auto peer = std::ranges::find(identity_.peers, refusal->node, &ipc::Peer::node);
  if (refusal->kind != StatementKind::kKeyRefusal || refusal->cluster != identity_.cluster ||
      refusal->user != user || refusal->key != order.key || refusal->epoch != order.epoch ||
      refusal->node == identity_.node || peer == identity_.peers.end()) {
    return fail(ErrorCode::kBadRequest, "the refusal is not one of this key by another node");
  }
  if (!verify_statement(*refusal, peer->identity)) {
    return std::unexpected(Error{.code = ErrorCode::kPeerMisbehaved,
                                 .message = "the refusal's signature is wrong",
                                 .peer = refusal->node,
                                 .peer_reason = "bad signature of a refusal"});
  }
  const auto epochs = epochs_of(user, order.key);
  if (!epochs) {
    return std::unexpected(epochs.error());
  }
  const auto found = std::ranges::find(*epochs, order.epoch, &ipc::StoredKey::epoch);
  if (found == epochs->end() || acknowledgement_digest(found->record) != refusal->digest) {
    const auto before = acknowledged(user, refusal->digest);
    if (before && *before == kDiscarded) {
      return {};
    }
    return fail(ErrorCode::kUnknownKey, "no share of the refused record is stored");
  }
  if (found->state == ipc::KeyState::kActive) {
    return fail(ErrorCode::kConflict, "the share is active: all participants acknowledged it");
  }
  const auto record = decode_key_record(found->record);
  if (!record || record->index_of(refusal->node) == 0) {
    return fail(ErrorCode::kBadRequest, "the refusing node does not take part in this key");
  }
  if (auto done = erase_key(user, order.key, order.epoch); !done) {
    return done;
  }
  if (auto done = sql_->put_discard
                      .run(user, refusal->digest, order.refusal,
                           mac("discards", {as_bytes(user), refusal->digest, order.refusal}))
                      .execute();
      !done) {
    return done;
  }
  return set_acknowledged(user, order.key, order.epoch, refusal->digest, kDiscarded);
}

Expected<ByteVector> Store::refuse(const std::string& user, const ipc::StoreRefusal& order) {
  const auto before = acknowledged(user, order.digest);
  if (!before) {
    return std::unexpected(before.error());
  }
  if (*before == kDiscarded) {
    auto run = sql_->get_discard.run(user, order.digest);
    const auto row = run.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (*row) {
      if (!constant_time_equal(mac("discards", {as_bytes(user), order.digest, run.blob(0)}),
                               run.blob(1))) {
        return altered_row();
      }
      return to_vector(run.blob(0));
    }
  }
  if (*before != 0) {
    return fail(ErrorCode::kConflict, "this very record was acknowledged");
  }
  auto done = sql_->put_refusal
                  .run(user, order.digest, order.key, order.epoch, order.session,
                       mac("refusals", {as_bytes(user), order.digest, as_bytes(order.key),
                                        Number(order.epoch), order.session}))
                  .execute();
  if (!done) {
    return std::unexpected(done.error());
  }
  return ByteVector();
}

}  // namespace cosigner::supervisor
