#include "supervisor/store/key_store.h"

#include <algorithm>

namespace cosigner::supervisor {
namespace {

constexpr const char* kSchema = R"sql(
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL, mac BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE keys(
  user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL, state INTEGER NOT NULL,
  session BLOB NOT NULL, record BLOB NOT NULL, sealed_share BLOB NOT NULL, certificate BLOB NOT NULL,
  mac BLOB NOT NULL, PRIMARY KEY(user, key, epoch)) WITHOUT ROWID;
CREATE TABLE refusals(
  user TEXT NOT NULL, key TEXT NOT NULL, digest BLOB NOT NULL, epoch INTEGER NOT NULL,
  session BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, key, digest)) WITHOUT ROWID;
CREATE TABLE results(
  session BLOB PRIMARY KEY, user TEXT NOT NULL, initiator BLOB NOT NULL, id BLOB NOT NULL,
  keep_until INTEGER NOT NULL, answer BLOB NOT NULL, mac BLOB NOT NULL) WITHOUT ROWID;
CREATE UNIQUE INDEX results_by_id ON results(initiator, id);
CREATE INDEX results_by_time ON results(keep_until);
)sql";

std::unexpected<Error> damaged(const std::string& what) {
  return fail(ErrorCode::kStorageFailed,
              what +
                  " does not carry this node's seal: the database was altered or belongs to "
                  "another key-encryption key; restore it from a backup");
}

Digest key_row(const std::string& user, const ipc::StoredKey& key) {
  return row_hash("keys")
      .part(user)
      .part(key.key)
      .part_u64(key.epoch)
      .part_u8(static_cast<std::uint8_t>(key.state))
      .part(key.session)
      .part(key.record)
      .part(key.sealed_share)
      .part(key.certificate)
      .finish();
}
Digest result_row(const StoredResult& result) {
  return row_hash("results")
      .part(result.session)
      .part(result.user)
      .part(result.initiator)
      .part(result.id)
      .part_u64(result.keep_until_ms)
      .part(result.answer)
      .finish();
}
Digest refusal_row(const std::string& user, const std::string& key, const Digest& digest,
                   std::uint64_t epoch, const SessionId& session) {
  return row_hash("refusals")
      .part(user)
      .part(key)
      .part(digest)
      .part_u64(epoch)
      .part(session)
      .finish();
}
Digest counter_row(std::string_view name, std::uint64_t value) {
  return row_hash("counters").part(name).part_u64(value).finish();
}

}  // namespace

struct KeyStore::Queries {
  explicit Queries(const Database& db)
      : counter(db, "SELECT value, mac FROM counters WHERE name = ?"),
        set_counter(db, "INSERT OR REPLACE INTO counters VALUES (?, ?, ?)"),
        keys(db,
             "SELECT key, epoch, state, session, record, sealed_share, certificate, mac FROM keys "
             "WHERE user = ? ORDER BY key, epoch"),
        users(db, "SELECT DISTINCT user FROM keys ORDER BY user"),
        put_key(db, "INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        erase_key(db, "DELETE FROM keys WHERE user = ? AND key = ? AND epoch = ?"),
        refusal(
            db,
            "SELECT epoch, session, mac FROM refusals WHERE user = ? AND key = ? AND digest = ?"),
        put_refusal(db, "INSERT OR REPLACE INTO refusals VALUES (?, ?, ?, ?, ?, ?)"),
        result(db,
               "SELECT session, user, keep_until, answer, mac FROM results "
               "WHERE initiator = ? AND id = ?"),
        put_result(db, "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)"),
        purge(db, "DELETE FROM results WHERE keep_until < ?") {}

  Query counter, set_counter, keys, users, put_key, erase_key, refusal, put_refusal, result,
      put_result, purge;
};

KeyStore::KeyStore(Database database, RowKey row_key, StoreIdentity identity)
    : database_(std::move(database)),
      row_key_(std::move(row_key)),
      identity_(std::move(identity)),
      queries_(nullptr, [](Queries* queries) { delete queries; }) {}

Expected<std::unique_ptr<KeyStore>> KeyStore::open(const std::string& path,
                                                   ByteView key_encryption_key,
                                                   StoreIdentity identity) {
  auto database = Database::open(path);
  if (!database) {
    return std::unexpected(database.error());
  }
  RowKey row_key(key_encryption_key, identity.cluster, identity.node);
  std::unique_ptr<KeyStore> store(
      new KeyStore(std::move(*database), std::move(row_key), std::move(identity)));
  if (const auto ready = store->prepare_schema(); !ready) {
    return std::unexpected(ready.error());
  }
  store->queries_.reset(new Queries(store->database_));
  return store;
}

Expected<void> KeyStore::prepare_schema() {
  std::uint64_t version = 0;
  {
    Query query(database_, "PRAGMA user_version");
    const auto row = query.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    version = query.integer(0);
  }
  if (version > kSchemaVersion) {
    return fail(ErrorCode::kUnsupportedVersion,
                "the database has schema " + std::to_string(version) + ", this release knows " +
                    std::to_string(kSchemaVersion) +
                    ": it was written by a newer release, which must be used");
  }
  // secure_delete overwrites what is erased: an old epoch's share must not linger in free pages.
  if (const auto set = database_.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                                         "PRAGMA secure_delete=ON; PRAGMA temp_store=MEMORY;");
      !set) {
    return set;
  }
  if (version == 0) {
    return database_.execute(std::string("BEGIN IMMEDIATE;") + kSchema +
                             "PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";COMMIT;");
  }
  return {};
}

Expected<void> KeyStore::begin() {
  return database_.execute("BEGIN IMMEDIATE");
}
Expected<void> KeyStore::commit() {
  return database_.execute("COMMIT");
}
void KeyStore::rollback() {
  (void)database_.execute("ROLLBACK");
}
Expected<void> KeyStore::savepoint() {
  return database_.execute("SAVEPOINT part");
}
void KeyStore::release(bool keep) {
  (void)database_.execute(keep ? "RELEASE part" : "ROLLBACK TO part; RELEASE part");
}

Expected<std::uint64_t> KeyStore::reserve_generations(std::uint64_t count) {
  std::uint64_t last = 0;
  const auto row = queries_->counter.reset().bind(std::string_view("generation")).step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (*row) {
    last = queries_->counter.integer(0);
    if (!row_key_.verify(counter_row("generation", last), queries_->counter.blob(1))) {
      return damaged("the generation counter");
    }
  }
  queries_->counter.reset();
  const std::uint64_t next = last + count;
  const auto written = queries_->set_counter.reset()
                           .bind(std::string_view("generation"))
                           .bind(next)
                           .bind(row_key_.sign(counter_row("generation", next)).view())
                           .run();
  if (!written) {
    return std::unexpected(written.error());
  }
  return last + 1;
}

// ---- keys
// -------------------------------------------------------------------------------------------------------------

Expected<std::vector<ipc::StoredKey>> KeyStore::keys_of(const std::string& user) {
  std::vector<ipc::StoredKey> keys;
  Query& query = queries_->keys.reset().bind(std::string_view(user));
  for (;;) {
    const auto row = query.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (!*row) {
      break;
    }
    ipc::StoredKey key;
    key.key = query.text(0);
    key.epoch = query.integer(1);
    key.state = query.integer(2) == 2 ? ipc::KeyState::kActive : ipc::KeyState::kPending;
    key.session = SessionId::from(query.blob(3)).value_or(SessionId{});
    key.record = query.blob(4);
    key.sealed_share = query.blob(5);
    key.certificate = query.blob(6);
    if (!row_key_.verify(key_row(user, key), query.blob(7))) {
      query.reset();
      return damaged("key \"" + key.key + "\" of user \"" + user + "\"");
    }
    keys.push_back(std::move(key));
  }
  query.reset();
  return keys;
}

Expected<std::vector<std::string>> KeyStore::users() {
  std::vector<std::string> users;
  Query& query = queries_->users.reset();
  for (;;) {
    const auto row = query.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (!*row) {
      return users;
    }
    users.push_back(query.text(0));
  }
}

Expected<std::vector<KeyStore::Row>> KeyStore::rows_of(const std::string& user,
                                                       const std::string& key) {
  auto keys = keys_of(user);
  if (!keys) {
    return std::unexpected(keys.error());
  }
  std::vector<Row> rows;
  for (ipc::StoredKey& stored : *keys) {
    if (stored.key == key) {
      auto record = decode_key_record(stored.record);
      if (!record) {
        return std::unexpected(record.error());
      }
      rows.push_back({std::move(stored), std::move(*record)});
    }
  }
  return rows;
}

Expected<void> KeyStore::write(const std::string& user, const ipc::StoredKey& key) {
  return queries_->put_key.reset()
      .bind(std::string_view(user))
      .bind(std::string_view(key.key))
      .bind(key.epoch)
      .bind(static_cast<std::uint64_t>(key.state))
      .bind(key.session.view())
      .bind(ByteView(key.record))
      .bind(ByteView(key.sealed_share))
      .bind(ByteView(key.certificate))
      .bind(row_key_.sign(key_row(user, key)).view())
      .run();
}

Expected<void> KeyStore::erase(const std::string& user, const std::string& key,
                               std::uint64_t epoch) {
  return queries_->erase_key.reset()
      .bind(std::string_view(user))
      .bind(std::string_view(key))
      .bind(epoch)
      .run();
}

Expected<void> KeyStore::put_pending(const std::string& user, const ipc::StoredKey& key) {
  const auto record = decode_key_record(key.record);
  if (!record) {
    return std::unexpected(record.error());
  }
  if (record->cluster != identity_.cluster || record->user != user || record->key != key.key ||
      record->epoch != key.epoch || record->session != key.session ||
      record->index_of(identity_.node) == 0 || key.state != ipc::KeyState::kPending) {
    return fail(ErrorCode::kBadRequest, "the record is not of this user, key, epoch and node");
  }
  const auto was_refused = refused(user, key.key, acknowledgement_digest(key.record));
  if (!was_refused) {
    return std::unexpected(was_refused.error());
  }
  if (*was_refused) {
    return fail(ErrorCode::kConflict, "this node refused this record before");
  }
  const auto rows = rows_of(user, key.key);
  if (!rows) {
    return std::unexpected(rows.error());
  }
  std::uint64_t active = 0;
  for (const Row& row : *rows) {
    if (row.key.epoch == key.epoch && row.key.record == key.record) {
      return {};  // the same promise again
    }
    if (row.key.state == ipc::KeyState::kPending) {
      return fail(ErrorCode::kConflict, "another epoch of this key waits for its certificate");
    }
    active = std::max(active, row.key.epoch);
  }
  if (key.epoch != active + 1) {
    return fail(
        active == 0 ? ErrorCode::kBadRequest : ErrorCode::kConflict,
        "epoch " + std::to_string(key.epoch) + " does not follow epoch " + std::to_string(active));
  }
  return write(user, key);
}

Expected<void> KeyStore::activate(const std::string& user, const std::string& key,
                                  std::uint64_t epoch, const SessionId& session,
                                  ByteView certificate) {
  const auto rows = rows_of(user, key);
  if (!rows) {
    return std::unexpected(rows.error());
  }
  const auto found = std::ranges::find_if(
      *rows, [&](const Row& row) { return row.key.epoch == epoch && row.key.session == session; });
  if (found == rows->end()) {
    return fail(ErrorCode::kUnknownKey, "no share of this epoch and session is kept here");
  }
  if (found->key.state == ipc::KeyState::kActive) {
    return {};
  }
  const auto all = decode_commit_certificate(certificate);
  if (!all) {
    return std::unexpected(all.error());
  }
  if (const auto verified =
          verify_acknowledgements(found->record, found->key.record, *all, identity_.peers);
      !verified) {
    return verified;
  }
  ipc::StoredKey active = found->key;
  active.state = ipc::KeyState::kActive;
  active.certificate = to_vector(certificate);
  if (const auto written = write(user, active); !written) {
    return written;
  }
  for (const Row& row : *rows) {
    if (row.key.epoch < epoch) {
      if (const auto erased = erase(user, key, row.key.epoch); !erased) {
        return erased;
      }
    }
  }
  return {};
}

Expected<void> KeyStore::discard(const std::string& user, const std::string& key,
                                 std::uint64_t epoch, const SessionId& session, ByteView refusal) {
  const auto rows = rows_of(user, key);
  if (!rows) {
    return std::unexpected(rows.error());
  }
  const auto found = std::ranges::find_if(
      *rows, [&](const Row& row) { return row.key.epoch == epoch && row.key.session == session; });
  if (found == rows->end()) {
    return {};  // discarded before
  }
  if (found->key.state == ipc::KeyState::kActive) {
    return fail(ErrorCode::kConflict, "this epoch is active: its certificate is complete");
  }
  const auto statement = decode_statement(refusal);
  if (!statement) {
    return fail(ErrorCode::kBadRequest, statement.error());
  }
  const auto peer = std::ranges::find_if(identity_.peers, [&](const ipc::Peer& candidate) {
    return candidate.node == statement->node;
  });
  const bool valid =
      statement->kind == StatementKind::kKeyRefusal && statement->cluster == identity_.cluster &&
      statement->user == user && statement->key == key && statement->epoch == epoch &&
      statement->session == session &&
      statement->digest == acknowledgement_digest(found->key.record) &&
      statement->node != identity_.node && found->record.index_of(statement->node) != 0 &&
      peer != identity_.peers.end() && verify_statement(*statement, peer->identity);
  if (!valid) {
    return fail(ErrorCode::kBadRequest, "this is no participant's refusal of the pending record");
  }
  return erase(user, key, epoch);
}

Expected<bool> KeyStore::refused(const std::string& user, const std::string& key,
                                 const Digest& digest) {
  Query& query = queries_->refusal.reset()
                     .bind(std::string_view(user))
                     .bind(std::string_view(key))
                     .bind(digest.view());
  const auto row = query.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (!*row) {
    return false;
  }
  const auto session = SessionId::from(query.blob(1)).value_or(SessionId{});
  const bool valid =
      row_key_.verify(refusal_row(user, key, digest, query.integer(0), session), query.blob(2));
  query.reset();
  if (!valid) {
    return damaged("a refusal for key \"" + key + "\"");
  }
  return true;
}

Expected<void> KeyStore::refuse(const std::string& user, const std::string& key,
                                std::uint64_t epoch, const SessionId& session,
                                const Digest& digest) {
  const auto rows = rows_of(user, key);
  if (!rows) {
    return std::unexpected(rows.error());
  }
  for (const Row& row : *rows) {
    if (acknowledgement_digest(row.key.record) == digest) {
      return fail(ErrorCode::kConflict, "this node has acknowledged that record");
    }
  }
  return queries_->put_refusal.reset()
      .bind(std::string_view(user))
      .bind(std::string_view(key))
      .bind(digest.view())
      .bind(epoch)
      .bind(session.view())
      .bind(row_key_.sign(refusal_row(user, key, digest, epoch, session)).view())
      .run();
}

// ---- results
// ------------------------------------------------------------------------------------------------------------

Expected<void> KeyStore::put_result(const StoredResult& result) {
  return queries_->put_result.reset()
      .bind(result.session.view())
      .bind(std::string_view(result.user))
      .bind(result.initiator.view())
      .bind(result.id.view())
      .bind(result.keep_until_ms)
      .bind(ByteView(result.answer))
      .bind(row_key_.sign(result_row(result)).view())
      .run();
}

Expected<FoundResult> KeyStore::find_result(const SessionId& session,
                                            const Ed25519PublicKey& initiator,
                                            const Bytes<16>& id) {
  Query& query = queries_->result.reset().bind(initiator.view()).bind(id.view());
  const auto row = query.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (!*row) {
    return FoundResult{};
  }
  StoredResult stored;
  stored.session = SessionId::from(query.blob(0)).value_or(SessionId{});
  stored.user = query.text(1);
  stored.initiator = initiator;
  stored.id = id;
  stored.keep_until_ms = query.integer(2);
  stored.answer = query.blob(3);
  const bool valid = row_key_.verify(result_row(stored), query.blob(4));
  query.reset();
  if (!valid) {
    return damaged("a stored result");
  }
  if (stored.session != session) {
    return FoundResult{.found = false, .replayed = true, .answer = {}};
  }
  return FoundResult{.found = true, .replayed = false, .answer = std::move(stored.answer)};
}

Expected<void> KeyStore::purge_results(std::uint64_t now_ms) {
  return queries_->purge.reset().bind(now_ms).run();
}

}  // namespace cosigner::supervisor
