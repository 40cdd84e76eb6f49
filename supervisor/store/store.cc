// Opening, schema, authentication, generations.

#include "supervisor/store/store.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>

#include "crypto/base/hash.h"
#include "crypto/base/seal.h"
#include "supervisor/store/statements.h"

namespace cosigner::supervisor {
namespace {

GuardedKey derive_mac_key(ByteView key_encryption_key, const StoreIdentity& identity) {
  const Digest info =
      TaggedHash(tag::kStoreMacKey).part(identity.cluster).part(identity.node).finish();
  GuardedKey key;
  hkdf_sha256(key_encryption_key, {}, info, key.expose_mutable());
  key.protect();
  return key;
}

}  // namespace

Store::Store(SqlDatabase database, StoreIdentity identity, GuardedKey mac_key)
    : database_(std::move(database)),
      identity_(std::move(identity)),
      mac_key_(std::move(mac_key)) {}
Store::Store(Store&&) noexcept = default;
Store& Store::operator=(Store&&) noexcept = default;
Store::~Store() = default;

Expected<Store> Store::open(const std::string& path, ByteView key_encryption_key,
                            StoreIdentity identity) {
  auto database = SqlDatabase::open(path);
  if (!database) {
    return std::unexpected(database.error());
  }
  GuardedKey mac_key = derive_mac_key(key_encryption_key, identity);
  Store store(std::move(*database), std::move(identity), std::move(mac_key));
  // FULL: a commit is on the disk before it is announced. secure_delete: erased shares are
  // overwritten with zeros.
  for (const char* pragma : {"PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
                             "PRAGMA secure_delete=ON", "PRAGMA temp_store=MEMORY"}) {
    if (auto done = store.database_.execute(pragma); !done) {
      return std::unexpected(done.error());
    }
  }
  if (auto done = store.migrate(); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = store.prepare(); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = store.check_key(); !done) {
    return std::unexpected(done.error());
  }
  return store;
}

Expected<void> Store::migrate() {
  const auto text = database_.query_text("PRAGMA user_version");
  if (!text) {
    return std::unexpected(text.error());
  }
  const int version = text->empty() ? 0 : std::stoi(*text);
  if (version > kSchemaVersion) {
    return fail(ErrorCode::kUnsupportedVersion,
                "The store has schema version " + *text + ", this release knows up to " +
                    std::to_string(kSchemaVersion) + ": run the newer release.");
  }
  if (version == kSchemaVersion) {
    return {};
  }
  std::string sql = "BEGIN EXCLUSIVE;";
  for (auto step = static_cast<std::size_t>(version); step < kSchemaSteps.size(); ++step) {
    sql += kSchemaSteps[step];
  }
  sql += "PRAGMA user_version=" + std::to_string(kSchemaVersion) + ";COMMIT;";
  return database_.execute(sql.c_str());  // a failure closes the database, which rolls back
}

Expected<void> Store::prepare() {
  std::optional<Error> error;
  const auto sql = [&](std::string_view text) -> SqlStatement {
    auto prepared = database_.prepare(text);
    if (!prepared) {
      error = prepared.error();
      return std::move(*database_.prepare("SELECT 1"));
    }
    return std::move(*prepared);
  };
  sql_ = std::make_unique<Statements>(Statements{
      .get_counter = sql("SELECT value, mac FROM counters WHERE name = ?1"),
      .put_counter = sql("INSERT OR REPLACE INTO counters VALUES(?1, ?2, ?3)"),
      .keys_of_user = sql("SELECT key, epoch, state, session, record, sealed_share, certificate, "
                          "mac FROM keys WHERE user = ?1 ORDER BY key, epoch"),
      .epochs_of_key = sql("SELECT key, epoch, state, session, record, sealed_share, certificate, "
                           "mac FROM keys WHERE user = ?1 AND key = ?2 ORDER BY epoch"),
      .key_owners = sql("SELECT DISTINCT user FROM keys ORDER BY user"),
      .put_key = sql("INSERT OR REPLACE INTO keys VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
      .erase_key = sql("DELETE FROM keys WHERE user = ?1 AND key = ?2 AND epoch = ?3"),
      .get_acknowledgement =
          sql("SELECT key, epoch, state, mac FROM acknowledgements WHERE user = ?1 AND digest = "
              "?2"),
      .put_acknowledgement =
          sql("INSERT OR REPLACE INTO acknowledgements VALUES(?1, ?2, ?3, ?4, ?5, ?6)"),
      .get_refusal =
          sql("SELECT key, epoch, session, mac FROM refusals WHERE user = ?1 AND digest = ?2"),
      .put_refusal = sql("INSERT OR REPLACE INTO refusals VALUES(?1, ?2, ?3, ?4, ?5, ?6)"),
      .get_discard = sql("SELECT refusal, mac FROM discards WHERE user = ?1 AND digest = ?2"),
      .put_discard = sql("INSERT OR REPLACE INTO discards VALUES(?1, ?2, ?3, ?4)"),
      .get_result = sql("SELECT user, initiator, id, keep_until, answer, mac FROM results WHERE "
                        "session = ?1"),
      .get_result_by_id =
          sql("SELECT 1 FROM results WHERE initiator = ?1 AND id = ?2 AND session <> ?3"),
      .put_result = sql("INSERT INTO results VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
      .purge_results = sql("DELETE FROM results WHERE session IN (SELECT session FROM results "
                           "WHERE keep_until < ?1 LIMIT ?2) RETURNING 1"),
      .get_pair = sql("SELECT strikes, banned, banned_since, renewal, mac FROM pairs WHERE "
                      "user = ?1 AND key = ?2 AND epoch = ?3 AND peer = ?4"),
      .pairs = sql("SELECT user, key, epoch, peer FROM pairs WHERE ?1 = '' OR user = ?1 ORDER BY "
                   "user, key, epoch, peer"),
      .put_pair = sql("INSERT OR REPLACE INTO pairs VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
      .erase_pair =
          sql("DELETE FROM pairs WHERE user = ?1 AND key = ?2 AND epoch = ?3 AND peer = ?4"),
      .renewal_orders =
          sql("SELECT user, key, epoch, peer, at, lifts_ban, ordered_by, reason, mac FROM "
              "renewal_orders WHERE ?1 = '' OR user = ?1 ORDER BY number"),
      .put_renewal_order =
          sql("INSERT INTO renewal_orders VALUES(NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"),
      .count_bans = sql("SELECT count(*) FROM pairs WHERE banned <> 0"),
  });
  if (error) {
    return std::unexpected(*error);
  }
  return {};
}

Expected<void> Store::check_key() {
  // The generation counter is there from the first start on: it shows whether the key is the one
  // the rows were authenticated with.
  auto run = sql_->get_counter.run(std::string_view("generation"));
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (*row && !constant_time_equal(
                  mac("counters", {as_bytes("generation"), Number(run.integer(0))}), run.blob(1))) {
    return fail(ErrorCode::kStorageFailed,
                "The store does not belong to this key-encryption key, cluster and node, or it was "
                "altered: check key_encryption_key_file, or restore a backup.");
  }
  return {};
}

Digest Store::mac(std::string_view table, std::initializer_list<ByteView> columns) const {
  TaggedHash hash(tag::kStoreRow);
  hash.part(table);
  for (const ByteView column : columns) {
    hash.part(column);
  }
  const Digest digest = hash.finish();
  Digest out;
  unsigned size = Digest::kSize;
  const ByteView key = mac_key_.expose();
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), digest.data.data(), Digest::kSize,
       out.data.data(), &size);
  return out;
}

Expected<void> Store::begin() {
  if (auto begun = database_.execute("BEGIN"); !begun) {
    return begun;
  }
  spoilt_ = false;
  return {};
}

Expected<void> Store::commit() {
  if (spoilt_) {
    return fail(ErrorCode::kStorageFailed,
                "A failed operation could not be undone: its transaction is not committed.");
  }
  return database_.execute("COMMIT");
}

Expected<void> Store::rollback() {
  erased_ = false;
  if (!database_.in_transaction()) {
    return {};
  }
  return database_.execute("ROLLBACK");
}

void Store::undo_operation() {
  // On a full disk SQLite may have rolled everything back by itself, savepoint and all: then there
  // is no transaction left to commit (in_transaction()), and begin() makes another.
  if (!database_.execute("ROLLBACK TO operation; RELEASE operation")) {
    spoilt_ = true;
  }
}

Expected<bool> Store::truncate_log() {
  return database_.truncate_log();
}

Expected<std::uint64_t> Store::reserve_generations(std::uint64_t count, std::uint64_t floor) {
  constexpr std::string_view kName = "generation";
  std::uint64_t next = 1;
  {
    auto run = sql_->get_counter.run(kName);
    const auto row = run.step();
    if (!row) {
      return std::unexpected(row.error());
    }
    if (*row) {
      next = run.integer(0);
      if (!constant_time_equal(mac("counters", {as_bytes(kName), Number(next)}), run.blob(1))) {
        return fail(ErrorCode::kStorageFailed,
                    "The generation counter in the store was altered: restore a backup.");
      }
    }
  }
  next = std::max(next, floor);
  const std::uint64_t after = next + count;
  if (auto done =
          sql_->put_counter.run(kName, after, mac("counters", {as_bytes(kName), Number(after)}))
              .execute();
      !done) {
    return std::unexpected(done.error());
  }
  return next;
}

}  // namespace cosigner::supervisor
