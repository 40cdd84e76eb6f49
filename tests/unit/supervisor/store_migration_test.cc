// Stores of earlier releases: their schemas word for word, so that a change of a released step of
// the migration is noticed, with rows whose authentication covers columns that no step changed.

#include <set>

#include "tests/unit/supervisor/store_fixture.h"

namespace cosigner::supervisor::test {
namespace {

constexpr const char* kReleasedSchema1 = R"sql(
CREATE TABLE old.counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL, mac BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE old.keys(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  state INTEGER NOT NULL, session BLOB NOT NULL, record BLOB NOT NULL, sealed_share BLOB NOT NULL,
  certificate BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, key, epoch));
CREATE TABLE old.acknowledgements(user TEXT NOT NULL, digest BLOB NOT NULL, key TEXT NOT NULL,
  epoch INTEGER NOT NULL, state INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, digest))
  WITHOUT ROWID;
CREATE TABLE old.refusals(user TEXT NOT NULL, digest BLOB NOT NULL, key TEXT NOT NULL,
  epoch INTEGER NOT NULL, session BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, digest))
  WITHOUT ROWID;
CREATE TABLE old.results(session BLOB PRIMARY KEY, user TEXT NOT NULL, initiator BLOB NOT NULL,
  id BLOB NOT NULL, keep_until INTEGER NOT NULL, answer BLOB NOT NULL, mac BLOB NOT NULL);
CREATE INDEX old.results_by_id ON results(initiator, id);
CREATE INDEX old.results_by_time ON results(keep_until);
CREATE TABLE old.pairs(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  peer TEXT NOT NULL, open INTEGER NOT NULL, strikes INTEGER NOT NULL, banned INTEGER NOT NULL,
  mac BLOB NOT NULL, PRIMARY KEY(user, key, epoch, peer)) WITHOUT ROWID;
)sql";
constexpr const char* kReleasedSchema2 = R"sql(
DROP TABLE old.pairs;
CREATE TABLE old.pairs(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  peer TEXT NOT NULL, strikes INTEGER NOT NULL, banned INTEGER NOT NULL,
  banned_since INTEGER NOT NULL, renewal INTEGER NOT NULL, mac BLOB NOT NULL,
  PRIMARY KEY(user, key, epoch, peer)) WITHOUT ROWID;
CREATE TABLE old.renewal_orders(number INTEGER PRIMARY KEY, user TEXT NOT NULL, key TEXT NOT NULL,
  epoch INTEGER NOT NULL, peer TEXT NOT NULL, at INTEGER NOT NULL, lifts_ban INTEGER NOT NULL,
  ordered_by TEXT NOT NULL, reason TEXT NOT NULL, mac BLOB NOT NULL);
)sql";

constexpr std::uint64_t kBannedAt = 1'800'000'000'000;

KeyRecord old_key(std::uint64_t epoch = 1, std::uint8_t variant = 1) {
  KeyRecord record = StoreFixture::record(epoch, variant);
  record.scheme = Scheme::kEcdsaSecp256k1;
  record.public_key = ByteVector(33, 2);
  record.public_shares = {ByteVector(33, 2), ByteVector(33, 2), ByteVector(33, 2)};
  return record;
}

ipc::StoreResult old_result() {
  ipc::StoreResult result;
  result.session.data.fill(1);
  result.initiator.data.fill(2);
  result.id.data.fill(3);
  result.keep_until_ms = 1000;
  result.answer = ByteVector(20, 4);
  return result;
}

/// A store in use under the schema of that version, in the place of the fixture's.
void make_old_store(const StoreFixture& fixture, int version) {
  {
    auto store = fixture.open();
    REQUIRE(store);
    REQUIRE(store->reserve_generations(1000) == 1);
    REQUIRE(store->store_pending("alice", StoreFixture::stored(old_key())));
    REQUIRE(store->activate("alice", fixture.activation(old_key())));
    REQUIRE(store->store_result("alice", old_result()));
    REQUIRE(store->refuse("alice", StoreFixture::refusing(old_key(2, 5))));
    if (version >= 2) {
      const ipc::Burn failed{.order = 1,
                             .key = "main",
                             .epoch = 1,
                             .peer = "node2",
                             .failed = true,
                             .sealed_share = ByteVector(90, 5)};
      REQUIRE(store->burn("alice", failed, kBannedAt));
      REQUIRE(store->order_renewal({.user = "alice",
                                    .key = "main",
                                    .peer = "node2",
                                    .lifts_ban = true,
                                    .reason = "repaired",
                                    .ordered_by = "uid 0",
                                    .at_ms = kBannedAt,
                                    .epoch = 0}));
    }
  }
  const std::string old = fixture.path() + ".old";
  std::string sql = "ATTACH '" + old + "' AS old;" + kReleasedSchema1;
  std::vector<std::string> tables{"counters", "keys", "acknowledgements", "refusals", "results"};
  if (version >= 2) {
    sql += kReleasedSchema2;
    tables.insert(tables.end(), {"pairs", "renewal_orders"});
  }
  for (const std::string& table : tables) {
    sql += "INSERT INTO old." + table + " SELECT * FROM main." + table + ";";
  }
  edit(fixture.path(), sql + "PRAGMA old.user_version=" + std::to_string(version));
  for (const char* suffix : {"", "-wal", "-shm"}) {
    std::filesystem::remove(fixture.path() + suffix);
  }
  std::filesystem::rename(old, fixture.path());
}

/// Every table and index with its columns, as SQLite holds them, spaces aside.
std::set<std::string> schema_of(const std::string& path) {
  sqlite3* database = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &database) == SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  REQUIRE(sqlite3_prepare_v2(database,
                             "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL UNION ALL "
                             "SELECT 'version ' || user_version FROM pragma_user_version",
                             -1, &statement, nullptr) == SQLITE_OK);
  std::set<std::string> out;
  while (sqlite3_step(statement) == SQLITE_ROW) {
    std::string text(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)));
    std::erase_if(text, [](char c) { return c == ' ' || c == '\n'; });
    out.insert(text);
  }
  sqlite3_finalize(statement);
  sqlite3_close(database);
  return out;
}

}  // namespace

TEST_CASE("store: one of an earlier schema is migrated with all that it holds") {
  const StoreFixture fresh;
  REQUIRE(fresh.open());
  for (const int version : {1, 2}) {
    INFO("schema " << version);
    const StoreFixture fixture;
    make_old_store(fixture, version);
    REQUIRE(schema_of(fixture.path()).contains("version" + std::to_string(version)));
    {
      auto store = fixture.open();
      REQUIRE(store);
      CHECK(store->reserve_generations(1) == 1001);
      const auto keys = store->keys_of("alice");
      REQUIRE(keys);
      REQUIRE(keys->size() == 1);
      CHECK(keys->front().state == ipc::KeyState::kActive);
      CHECK(keys->front().record == encode_key_record(old_key()));
      ipc::ResultLookup lookup;
      lookup.session = old_result().session;
      lookup.initiator = old_result().initiator;
      lookup.id = old_result().id;
      const auto found = store->find_result("alice", lookup);
      REQUIRE(found);
      CHECK(found->answer == old_result().answer);
      // A refusal binds across the migration.
      CHECK(code_of(store->store_pending("alice", StoreFixture::stored(old_key(2, 5)))) ==
            ErrorCode::kConflict);
      const auto pairs = store->pairs_of("alice");
      REQUIRE(pairs);
      REQUIRE(pairs->size() == (version >= 2 ? 1U : 0U));
      if (version >= 2) {
        CHECK(pairs->front().banned == BanReason::kCheckFailed);
        CHECK(pairs->front().banned_since_ms == kBannedAt);
        const auto orders = store->renewal_orders("alice");
        REQUIRE(orders);
        REQUIRE(orders->size() == 1);
        CHECK(orders->front().reason == "repaired");
      }
      // What the new tables are for works in them.
      const KeyRecord next = old_key(2);
      REQUIRE(store->store_pending("alice", StoreFixture::stored(next)));
      REQUIRE(store->discard("alice", StoreFixture::discarding(next, fixture.refusal(next))));
    }
    CHECK(schema_of(fixture.path()) == schema_of(fresh.path()));
    REQUIRE(fixture.open());  // once more, with nothing to migrate
  }
}

}  // namespace cosigner::supervisor::test
