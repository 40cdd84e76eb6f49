// The store's promises, on a real SQLite file.

#include <sqlite3.h>

#include "tests/unit/supervisor/store_fixture.h"

namespace cosigner::supervisor::test {
namespace {

ipc::StoreResult result(std::uint8_t session, std::uint8_t id, std::uint64_t keep_until = 1000) {
  ipc::StoreResult out;
  out.session.data.fill(session);
  out.initiator.data.fill(1);
  out.id.data.fill(id);
  out.keep_until_ms = keep_until;
  out.answer = ByteVector(10, session);
  return out;
}
ipc::ResultLookup lookup(const ipc::StoreResult& of) {
  ipc::ResultLookup out;
  out.session = of.session;
  out.initiator = of.initiator;
  out.id = of.id;
  return out;
}

/// The connection that was opened last, whoever opened it.
sqlite3* last_connection = nullptr;
extern "C" int note_connection(sqlite3* connection, const char** /*error*/,
                               const sqlite3_api_routines* /*api*/) {
  last_connection = connection;
  return SQLITE_OK;
}

std::string pragma_of(sqlite3* connection, const std::string& name) {
  sqlite3_stmt* statement = nullptr;
  REQUIRE(sqlite3_prepare_v2(connection, ("PRAGMA " + name).c_str(), -1, &statement, nullptr) ==
          SQLITE_OK);
  REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
  const std::string value(reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)));
  sqlite3_finalize(statement);
  return value;
}

}  // namespace

TEST_CASE("store: its connection is the durable one that the promises rest on") {
  const StoreFixture fixture;
  const auto entry = reinterpret_cast<void (*)()>(note_connection);
  REQUIRE(sqlite3_auto_extension(entry) == SQLITE_OK);
  for (int i = 0; i < 2; ++i) {  // a new file, and one that is there
    last_connection = nullptr;
    const auto store = fixture.open();
    REQUIRE(store);
    REQUIRE(last_connection != nullptr);
    CHECK(pragma_of(last_connection, "journal_mode") == "wal");
    CHECK(pragma_of(last_connection, "synchronous") == "2");  // FULL
    CHECK(pragma_of(last_connection, "secure_delete") == "1");
    CHECK(pragma_of(last_connection, "temp_store") == "2");  // memory: nothing in /tmp
  }
  CHECK(sqlite3_cancel_auto_extension(entry) == 1);
}

TEST_CASE("store: generations are never used twice, across openings") {
  const StoreFixture fixture;
  std::uint64_t expected = 1;
  for (int i = 0; i < 3; ++i) {
    auto store = fixture.open();
    REQUIRE(store);
    REQUIRE(store->reserve_generations(100) == expected);
    REQUIRE(store->reserve_generations(5) == expected + 100);
    expected += 105;
  }
}

TEST_CASE("store: no generation is below the floor, and none goes back with it") {
  const StoreFixture fixture;
  {
    auto store = fixture.open();
    REQUIRE(store);
    REQUIRE(store->reserve_generations(100, 5000) == 5000);
    REQUIRE(store->reserve_generations(100, 5050) == 5100);
    REQUIRE(store->reserve_generations(100, 0) == 5200);  // the clock was put back
  }
  auto store = fixture.open();
  REQUIRE(store);
  REQUIRE(store->reserve_generations(1, 5300) == 5300);
  REQUIRE(store->reserve_generations(1, 9000) == 9000);
  REQUIRE(store->reserve_generations(1) == 9001);
}

TEST_CASE("store: an acknowledged share stands, and nothing else of its key is acknowledged") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  const KeyRecord first = StoreFixture::record(1);
  REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
  REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));  // the same again
  REQUIRE(code_of(store->store_pending(
              "alice", StoreFixture::stored(StoreFixture::record(1, 2)))) == ErrorCode::kConflict);
  REQUIRE(code_of(store->refuse("alice", StoreFixture::refusing(first))) == ErrorCode::kConflict);
  store = fixture.open();
  const auto keys = store->keys_of("alice");
  REQUIRE(keys);
  REQUIRE(keys->size() == 1);
  REQUIRE(keys->front().state == ipc::KeyState::kPending);
  REQUIRE(keys->front().record == encode_key_record(first));
}

TEST_CASE("store: an order about no key is about none, not about every key of the user") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  const KeyRecord first = StoreFixture::record(1);
  REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
  auto activate = fixture.activation(first);
  activate.key.clear();
  REQUIRE(code_of(store->activate("alice", activate)) == ErrorCode::kBadRequest);
  REQUIRE(store->keys_of("alice")->front().state == ipc::KeyState::kPending);
  REQUIRE(store->activate("alice", fixture.activation(first)));  // it was the name alone
  auto discard = StoreFixture::discarding(first, fixture.refusal(first));
  discard.key.clear();
  REQUIRE(code_of(store->discard("alice", discard)) == ErrorCode::kBadRequest);
  REQUIRE(store->keys_of("alice")->size() == 1);
}

TEST_CASE("store: a record must be this node's, this user's and fit the order") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  const ipc::StoredKey good = StoreFixture::stored(StoreFixture::record(1));
  const auto refused = [&](const std::string& user, auto change) {
    ipc::StoredKey key = good;
    change(key);
    return !store->store_pending(user, key).has_value();
  };
  REQUIRE(refused("ben", [](auto&) {}));
  REQUIRE(refused("alice", [](auto& key) { key.key = "other"; }));
  REQUIRE(refused("alice", [](auto& key) { key.epoch = 2; }));
  REQUIRE(refused("alice", [](auto& key) { key.session.data[0] ^= 1; }));
  REQUIRE(refused("alice", [](auto& key) { key.record.pop_back(); }));
  REQUIRE(refused("alice", [](auto& key) { key.sealed_share.clear(); }));
  REQUIRE(refused("alice", [](auto& key) {
    KeyRecord other = StoreFixture::record(1);
    other.participants = {{1, "node2"}, {2, "node3"}};
    other.public_shares.pop_back();
    key.record = encode_key_record(other);
  }));
  REQUIRE(code_of(store->store_pending("alice", StoreFixture::stored(StoreFixture::record(2)))) ==
          ErrorCode::kConflict);
  REQUIRE(store->keys_of("alice")->empty());
}

TEST_CASE("store: all acknowledgements activate, and the epoch before is erased from the disk") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  const KeyRecord first = StoreFixture::record(1);
  const KeyRecord second = StoreFixture::record(2);
  REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
  SECTION("a certificate that lacks one, or is another's, does not") {
    ipc::StoreActivate order = fixture.activation(first);
    auto acknowledgements = fixture.acknowledge(first);
    acknowledgements.pop_back();
    order.certificate = encode_commit_certificate(acknowledgements);
    REQUIRE_FALSE(store->activate("alice", order));
    order.certificate = encode_commit_certificate(fixture.acknowledge(second));
    REQUIRE_FALSE(store->activate("alice", order));
    acknowledgements = fixture.acknowledge(first);
    acknowledgements[1].signature.data[3] ^= 1;
    order.certificate = encode_commit_certificate(acknowledgements);
    REQUIRE(code_of(store->activate("alice", order)) == ErrorCode::kPeerMisbehaved);
    order = fixture.activation(first);
    order.session.data[0] ^= 1;
    REQUIRE(code_of(store->activate("alice", order)) == ErrorCode::kConflict);
    REQUIRE(code_of(store->activate("ben", fixture.activation(first))) == ErrorCode::kUnknownKey);
    REQUIRE(store->keys_of("alice")->front().state == ipc::KeyState::kPending);
  }
  SECTION("all of them do") {
    REQUIRE(store->activate("alice", fixture.activation(first)));
    REQUIRE(store->activate("alice", fixture.activation(first)));
    REQUIRE(code_of(store->store_pending("alice", StoreFixture::stored(StoreFixture::record(
                                                      1, 2)))) == ErrorCode::kAlreadyExists);
    REQUIRE(store->store_pending("alice", StoreFixture::stored(second)));
    REQUIRE(store->keys_of("alice")->size() == 2);
    REQUIRE(fixture.on_disk("sealed share of epoch 1"));
    REQUIRE(store->begin());
    REQUIRE(store->activate("alice", fixture.activation(second)));
    REQUIRE(store->commit());
    REQUIRE(store->take_erased());
    REQUIRE(store->truncate_log() == true);
    const auto keys = store->keys_of("alice");
    REQUIRE(keys->size() == 1);
    REQUIRE(keys->front().epoch == 2);
    REQUIRE(keys->front().state == ipc::KeyState::kActive);
    REQUIRE_FALSE(fixture.on_disk("sealed share of epoch 1"));
    REQUIRE(fixture.on_disk("sealed share of epoch 2"));
    // It was acknowledged once: that is never denied.
    REQUIRE(code_of(store->refuse("alice", StoreFixture::refusing(first))) == ErrorCode::kConflict);
  }
}

TEST_CASE("store: a participant's signed refusal of the very record discards it") {
  const StoreFixture fixture;
  auto store = fixture.open();
  REQUIRE(store);
  const KeyRecord first = StoreFixture::record(1);
  REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
  const auto refused = [&](auto change) {
    Statement statement = fixture.refusal(first);
    change(statement);
    sign_statement(statement, fixture.identities[1]);
    return !store->discard("alice", StoreFixture::discarding(first, statement)).has_value();
  };
  REQUIRE(refused([](auto& s) { s.kind = StatementKind::kKeyAcknowledgement; }));
  REQUIRE(refused([](auto& s) { s.cluster = "other"; }));
  REQUIRE(refused([](auto& s) { s.node = "node3"; }));  // another's name
  REQUIRE(refused([](auto& s) { s.node = "node9"; }));  // nobody's
  REQUIRE(refused([](auto& s) { s.user = "ben"; }));
  REQUIRE(refused([](auto& s) { s.key = "other"; }));
  REQUIRE(refused([](auto& s) { s.epoch = 2; }));
  REQUIRE(refused([](auto& s) { s.digest.data[0] ^= 1; }));
  Statement own = fixture.refusal(first, 0);
  REQUIRE_FALSE(store->discard("alice", StoreFixture::discarding(first, own)));
  Statement forged = fixture.refusal(first);
  forged.signature.data[0] ^= 1;
  REQUIRE(code_of(store->discard("alice", StoreFixture::discarding(first, forged))) ==
          ErrorCode::kPeerMisbehaved);
  REQUIRE(store->keys_of("alice")->size() == 1);

  REQUIRE(store->discard("alice", StoreFixture::discarding(first, fixture.refusal(first))));
  REQUIRE(store->discard("alice", StoreFixture::discarding(first, fixture.refusal(first))));
  REQUIRE(store->keys_of("alice")->empty());
  // Not acknowledged again; who asks for a denial gets the one that it was discarded on. Another
  // record of the epoch may be acknowledged.
  REQUIRE(code_of(store->store_pending("alice", StoreFixture::stored(first))) ==
          ErrorCode::kConflict);
  REQUIRE_FALSE(store->refuse("alice", StoreFixture::refusing(first))->empty());
  const KeyRecord next = StoreFixture::record(1, 2);
  REQUIRE(store->store_pending("alice", StoreFixture::stored(next)));
  REQUIRE(store->activate("alice", fixture.activation(next)));
  REQUIRE(code_of(store->discard("alice", StoreFixture::discarding(next, fixture.refusal(next)))) ==
          ErrorCode::kConflict);
}

TEST_CASE("store: what was refused is never acknowledged") {
  const StoreFixture fixture;
  const KeyRecord first = StoreFixture::record(1);
  {
    auto store = fixture.open();
    REQUIRE(store->refuse("alice", StoreFixture::refusing(first)));
    REQUIRE(store->refuse("alice", StoreFixture::refusing(first)));
  }
  auto store = fixture.open();
  REQUIRE(code_of(store->store_pending("alice", StoreFixture::stored(first))) ==
          ErrorCode::kConflict);
  // The refusal is of one record: a later attempt of the same session may still make the key.
  REQUIRE(store->store_pending("alice", StoreFixture::stored(StoreFixture::record(1, 2))));
}

TEST_CASE("store: the refusal on which a record was discarded is kept for who else holds it") {
  const StoreFixture fixture;
  const KeyRecord first = StoreFixture::record(1);
  const Statement refusal = fixture.refusal(first);
  {
    auto store = fixture.open();
    REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
    REQUIRE(code_of(store->refuse("alice", StoreFixture::refusing(first))) == ErrorCode::kConflict);
    REQUIRE(store->discard("alice", StoreFixture::discarding(first, refusal)));
  }
  {
    auto store = fixture.open();
    const auto kept = store->refuse("alice", StoreFixture::refusing(first));
    REQUIRE(kept);
    REQUIRE(*kept == encode_statement(refusal));
    // A promise of this node's own brings nobody else's.
    const auto own = store->refuse("alice", StoreFixture::refusing(StoreFixture::record(1, 2)));
    REQUIRE(own);
    REQUIRE(own->empty());
    REQUIRE(store->refuse("ben", StoreFixture::refusing(first))->empty());
  }
  edit(fixture.path(), "UPDATE discards SET refusal = x'00'");
  auto store = fixture.open();
  REQUIRE(code_of(store->refuse("alice", StoreFixture::refusing(first))) ==
          ErrorCode::kStorageFailed);
}

TEST_CASE("store: results are served again to their own user, and ids are not used twice") {
  const StoreFixture fixture;
  auto store = fixture.open();
  const ipc::StoreResult first = result(1, 1);
  REQUIRE(store->store_result("alice", first));
  ipc::StoreResult again = first;
  again.answer = ByteVector(3, 9);
  REQUIRE(store->store_result("alice", again));
  REQUIRE(store->find_result("alice", lookup(first))->answer == first.answer);
  REQUIRE(code_of(store->store_result("ben", first)) == ErrorCode::kConflict);
  REQUIRE_FALSE(store->find_result("ben", lookup(first))->answer);
  const auto other_bytes = store->find_result("alice", lookup(result(2, 1)));
  REQUIRE(other_bytes->replayed);
  REQUIRE_FALSE(other_bytes->answer);
  REQUIRE_FALSE(store->find_result("alice", lookup(result(2, 2)))->replayed);
  REQUIRE(store->store_result("alice", result(3, 3, 5000)));
  REQUIRE(store->purge_results(1001, 100) == 1);
  REQUIRE_FALSE(store->find_result("alice", lookup(first))->answer);
  REQUIRE(store->find_result("alice", lookup(result(3, 3)))->answer);
}

TEST_CASE("store: an altered row denies its key and no other") {
  const StoreFixture fixture;
  {
    auto store = fixture.open();
    for (const char* name : {"main", "spare"}) {
      KeyRecord record = StoreFixture::record(1);
      record.key = name;
      REQUIRE(store->store_pending("alice", StoreFixture::stored(record)));
    }
  }
  edit(fixture.path(), "UPDATE keys SET sealed_share = x'00' WHERE key = 'spare'");
  auto store = fixture.open();
  const auto keys = store->intact_keys_of("alice");
  REQUIRE(keys);
  REQUIRE(keys->keys.size() == 1);
  REQUIRE(keys->keys[0].key == "main");
  REQUIRE(keys->altered == std::vector<std::string>{"spare"});
  REQUIRE(store->key_owners() == std::vector<std::string>{"alice"});
  REQUIRE_FALSE(store->keys_of("alice"));
}

TEST_CASE("store: every altered column of every table is noticed") {
  const StoreFixture fixture;
  const KeyRecord first = StoreFixture::record(1);
  {
    auto store = fixture.open();
    REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
    REQUIRE(store->refuse("alice", StoreFixture::refusing(StoreFixture::record(1, 7))));
    REQUIRE(store->store_result("alice", result(1, 1)));
    REQUIRE(*store->strike("alice", {"main", 1, "node2"}, 7));
    REQUIRE(store->reserve_generations(10));
  }
  struct Case {
    std::string sql;
    std::function<bool(Store&)> fails;
  };
  const auto keys_fail = [](Store& store) { return !store.keys_of("alice"); };
  const auto pending_fails = [&](Store& store) {
    return !store.store_pending("alice", StoreFixture::stored(StoreFixture::record(1, 7)));
  };
  const auto refusing_fails = [&](Store& store) {
    return !store.refuse("alice", StoreFixture::refusing(first));
  };
  const auto result_fails = [](Store& store) {
    return !store.find_result("alice", lookup(result(1, 1)));
  };
  const auto pairs_fail = [](Store& store) { return !store.pairs_of("alice"); };
  std::vector<Case> cases;
  for (const char* change :
       {"epoch = 2", "state = 2", "session = zeroblob(32)", "record = x'00'",
        "sealed_share = x'00'", "certificate = x'00'", "key = 'other'", "mac = zeroblob(32)"}) {
    cases.push_back({std::string("UPDATE keys SET ") + change, keys_fail});
  }
  for (const char* change : {"key = 'x'", "epoch = 9", "state = 2", "mac = zeroblob(32)"}) {
    cases.push_back({std::string("UPDATE acknowledgements SET ") + change, refusing_fails});
  }
  for (const char* change :
       {"key = 'x'", "epoch = 9", "session = zeroblob(32)", "mac = zeroblob(32)"}) {
    cases.push_back(
        {std::string("DELETE FROM keys; UPDATE refusals SET ") + change, pending_fails});
  }
  for (const char* change : {"initiator = zeroblob(32)", "id = zeroblob(16)", "keep_until = 9",
                             "answer = x'00'", "mac = zeroblob(32)"}) {
    cases.push_back({std::string("UPDATE results SET ") + change, result_fails});
  }
  for (const char* change :
       {"key = 'x'", "epoch = 9", "peer = 'node3'", "strikes = 9", "banned = 1", "banned_since = 9",
        "renewal = 2", "mac = zeroblob(32)"}) {
    cases.push_back({std::string("UPDATE pairs SET ") + change, pairs_fail});
  }
  const std::string pristine = fixture.path() + ".pristine";
  std::filesystem::copy_file(fixture.path(), pristine);
  for (const Case& one : cases) {
    INFO(one.sql);
    std::filesystem::copy_file(pristine, fixture.path(),
                               std::filesystem::copy_options::overwrite_existing);
    edit(fixture.path(), one.sql);
    auto store = fixture.open();
    REQUIRE(store);
    REQUIRE(one.fails(*store));
  }
  for (const char* change : {"value = 1", "mac = zeroblob(32)"}) {
    std::filesystem::copy_file(pristine, fixture.path(),
                               std::filesystem::copy_options::overwrite_existing);
    edit(fixture.path(), std::string("UPDATE counters SET ") + change);
    REQUIRE(code_of(fixture.open()) == ErrorCode::kStorageFailed);
  }
}

TEST_CASE("store: another key, another node, or a newer schema is refused") {
  StoreFixture fixture;
  {
    REQUIRE(fixture.open()->reserve_generations(1));
  }
  SECTION("another key-encryption key") {
    fixture.key_encryption_key.data[0] ^= 1;
    REQUIRE(code_of(fixture.open()) == ErrorCode::kStorageFailed);
  }
  SECTION("another node") {
    const auto store =
        Store::open(fixture.path(), fixture.key_encryption_key, {"demo", "node2", fixture.peers});
    REQUIRE(code_of(store) == ErrorCode::kStorageFailed);
  }
  SECTION("a newer schema") {
    edit(fixture.path(), "PRAGMA user_version = 99");
    REQUIRE(code_of(fixture.open()) == ErrorCode::kUnsupportedVersion);
  }
}

}  // namespace cosigner::supervisor::test
