// Strikes, bans and renewals of pairwise OT state in the store: durable, together with the share
// that no longer holds the state, and ended by an operator's order only.
#include "tests/unit/supervisor/store_fixture.h"

namespace cosigner::supervisor::test {
namespace {

constexpr std::uint64_t kNow = 1'800'000'000'000;

/// The fixture's key, as an active ECDSA key.
Expected<Store> with_key(const StoreFixture& fixture) {
  auto store = fixture.open();
  KeyRecord record = StoreFixture::record(1);
  record.scheme = Scheme::kEcdsaSecp256k1;
  record.public_key = ByteVector(33, 2);
  record.public_shares = {ByteVector(33, 2), ByteVector(33, 2), ByteVector(33, 2)};
  REQUIRE(store->store_pending("alice", StoreFixture::stored(record)));
  REQUIRE(store->activate("alice", fixture.activation(record)));
  return store;
}

ipc::Checking check(const std::string& peer = "node2") {
  return {.key = "main", .epoch = 1, .peer = peer};
}
ipc::Burn burn(std::string_view share = "without the state", bool failed = true) {
  return {.order = 1,
          .key = "main",
          .epoch = 1,
          .peer = "node2",
          .failed = failed,
          .sealed_share = to_vector(as_bytes(share))};
}
ipc::StoreRenewed renewed(std::string_view share = "with new state") {
  return {.order = 2,
          .key = "main",
          .epoch = 1,
          .peer = "node2",
          .sealed_share = to_vector(as_bytes(share))};
}
ipc::LiftBan lifting() {
  return {.order = 3, .key = "main", .epoch = 1, .peer = "node2"};
}
RenewalOrder ordering(bool lifts_ban, std::string reason = "the peer was repaired") {
  return {.user = "alice",
          .key = "main",
          .peer = "node2",
          .lifts_ban = lifts_ban,
          .reason = std::move(reason),
          .ordered_by = "uid 0",
          .at_ms = kNow};
}
std::string share_of(Store& store) {
  const auto keys = store.keys_of("alice");
  REQUIRE(keys->size() == 1);
  return std::string(as_text(keys->front().sealed_share));
}

}  // namespace

TEST_CASE("pairs: the third strike bans, and a restart forgets none") {
  const StoreFixture fixture;
  {
    auto store = with_key(fixture);
  }
  for (std::uint64_t strike = 1; strike <= kStrikesToBan + 1; ++strike) {
    auto store = fixture.open();
    const auto pair = store->strike("alice", check(), kNow + strike);
    REQUIRE(pair);
    REQUIRE(*pair);
    REQUIRE((*pair)->strikes == strike);
    REQUIRE((*pair)->banned == (strike < kStrikesToBan ? BanReason::kNone : BanReason::kStrikes));
    REQUIRE((*pair)->banned_since_ms == (strike < kStrikesToBan ? 0 : kNow + kStrikesToBan));
  }
  auto store = fixture.open();
  REQUIRE(store->pairs_of("alice")->size() == 1);
  REQUIRE(store->pairs_of("")->size() == 1);
  REQUIRE(store->pairs_of("bob")->empty());
  REQUIRE(store->pairs_of("alice")->front().standing().banned);
  // Only of a key that is there, and of another participant of it.
  REQUIRE_FALSE(*store->strike("bob", check(), kNow));
  REQUIRE_FALSE(*store->strike("alice", check("node9"), kNow));
  REQUIRE_FALSE(*store->strike("alice", check("node1"), kNow));
  REQUIRE(store->pairs_of("")->size() == 1);
}

TEST_CASE("pairs: a burn and the share without the state are one, and the old share is gone") {
  const StoreFixture fixture;
  const std::string before = "sealed share of epoch 1 and its marker";
  {
    auto store = with_key(fixture);
    REQUIRE(share_of(*store) == before);
    REQUIRE(store->begin());
    REQUIRE(*store->burn("alice", burn(), kNow));
    REQUIRE(store->rollback());  // both or neither
    REQUIRE(share_of(*store) == before);
    REQUIRE(store->pairs_of("alice")->empty());
    REQUIRE(*store->burn("alice", burn(), kNow));
    REQUIRE_FALSE(*store->burn("alice", burn("again"), kNow + 5));
    REQUIRE(store->take_erased());
    REQUIRE(store->truncate_log() == true);
  }
  auto store = fixture.open();
  REQUIRE(share_of(*store) == "again");
  const auto pairs = store->pairs_of("alice");
  REQUIRE(pairs->size() == 1);
  REQUIRE(pairs->front() == PairRecord{"alice", "main", 1, "node2", 0, BanReason::kCheckFailed,
                                       kNow, ipc::PairRenewal::kNone});
  REQUIRE_FALSE(fixture.on_disk(before));
  REQUIRE(store->keys_of("alice")->front().state == ipc::KeyState::kActive);
}

TEST_CASE("pairs: what is no pair of the user's keys cannot be burnt, renewed or ordered") {
  const StoreFixture fixture;
  auto store = with_key(fixture);
  for (int field = 0; field < 4; ++field) {
    auto order = burn();
    auto store_order = renewed();
    const auto change = [field](auto& one) {
      (field == 0   ? void(one.key = "other")
       : field == 1 ? void(one.epoch = 2)
       : field == 2 ? void(one.peer = "node1")
                    : void(one.sealed_share.clear()));
    };
    change(order);
    change(store_order);
    const auto expected = field < 2 ? ErrorCode::kUnknownKey : ErrorCode::kBadRequest;
    REQUIRE(code_of(store->operation(
                [&](Store& inside) { return inside.burn("alice", order, kNow); })) == expected);
    REQUIRE(code_of(store->operation(
                [&](Store& inside) { return inside.renewed("alice", store_order); })) == expected);
  }
  REQUIRE(code_of(store->burn("bob", burn(), kNow)) == ErrorCode::kUnknownKey);
  REQUIRE(code_of(store->burn("alice", burn("x", false), kNow)) == ErrorCode::kConflict);
  RenewalOrder order = ordering(false);
  order.key = "other";
  REQUIRE(code_of(store->order_renewal(order)) == ErrorCode::kUnknownKey);
  order = ordering(false);
  order.peer = "node9";
  REQUIRE(code_of(store->order_renewal(order)) == ErrorCode::kBadRequest);
  REQUIRE(code_of(store->order_renewal(ordering(true))) == ErrorCode::kBadRequest);  // no ban
  REQUIRE(store->pairs_of("")->empty());
  REQUIRE(share_of(*store) == "sealed share of epoch 1 and its marker");
}

TEST_CASE("pairs: a ban ends by an operator's order, new state, and both nodes' word") {
  const StoreFixture fixture;
  {
    auto store = with_key(fixture);
    REQUIRE(store->burn("alice", burn(), kNow));
    // A worker alone cannot end it.
    REQUIRE(code_of(store->renewed("alice", renewed())) == ErrorCode::kBanned);
    REQUIRE(code_of(store->lift("alice", lifting())) == ErrorCode::kConflict);
    REQUIRE(code_of(store->order_renewal(ordering(false))) == ErrorCode::kBanned);
    REQUIRE(store->order_renewal(ordering(true))->renewal == ipc::PairRenewal::kOrdered);
    REQUIRE(code_of(store->lift("alice", lifting())) == ErrorCode::kConflict);
  }
  {
    auto store = fixture.open();
    REQUIRE(store->pairs_of("alice")->front().renewal == ipc::PairRenewal::kOrdered);
    REQUIRE(store->renewed("alice", renewed()));
    REQUIRE(share_of(*store) == "with new state");
    REQUIRE(store->pairs_of("alice")->front().standing().banned);
  }
  auto store = fixture.open();
  REQUIRE(store->pairs_of("alice")->front().renewal == ipc::PairRenewal::kStored);
  REQUIRE(store->lift("alice", lifting())->banned == BanReason::kCheckFailed);
  REQUIRE(store->pairs_of("alice")->empty());
  REQUIRE(store->lift("alice", lifting())->banned == BanReason::kNone);  // again
  const auto orders = store->renewal_orders("alice");
  REQUIRE(orders->size() == 1);
  REQUIRE(orders->front().reason == "the peer was repaired");
  REQUIRE(orders->front().ordered_by == "uid 0");
  REQUIRE(orders->front().at_ms == kNow);
  REQUIRE(orders->front().epoch == 1);
  REQUIRE(orders->front().lifts_ban);
  REQUIRE(store->renewal_orders("bob")->empty());
}

TEST_CASE("pairs: a burn or a third strike uses up an order given before it") {
  const StoreFixture fixture;
  auto store = with_key(fixture);
  REQUIRE(store->order_renewal(ordering(false)));
  SECTION("a burn") {
    REQUIRE(store->burn("alice", burn(), kNow));
  }
  SECTION("a third strike") {
    for (std::uint64_t i = 0; i < kStrikesToBan; ++i) {
      REQUIRE(*store->strike("alice", check(), kNow));
    }
    // The worker erases what the strikes banned, without touching ban or orders.
    REQUIRE(store->order_renewal(ordering(true)));
    REQUIRE_FALSE(*store->burn("alice", burn("erased", false), kNow));
    REQUIRE(store->pairs_of("alice")->front().renewal == ipc::PairRenewal::kOrdered);
    REQUIRE(share_of(*store) == "erased");
    return;
  }
  REQUIRE(store->pairs_of("alice")->front().renewal == ipc::PairRenewal::kNone);
  REQUIRE(code_of(store->renewed("alice", renewed())) == ErrorCode::kBanned);
}

TEST_CASE("pairs: a renewal without a ban, and one that the peer ordered") {
  const StoreFixture fixture;
  auto store = with_key(fixture);
  REQUIRE(store->renewed("alice", renewed("by the peer's order")));
  REQUIRE(share_of(*store) == "by the peer's order");
  REQUIRE(store->pairs_of("alice")->empty());
  REQUIRE(store->order_renewal(ordering(false)));
  REQUIRE(store->renewed("alice", renewed()));
  REQUIRE(store->lift("alice", lifting())->banned == BanReason::kNone);
  REQUIRE(store->pairs_of("alice")->empty());
}

TEST_CASE("pairs: every altered column of an order is noticed") {
  const StoreFixture fixture;
  {
    auto store = with_key(fixture);
    REQUIRE(store->order_renewal(ordering(false)));
  }
  const std::string pristine = fixture.path() + ".pristine";
  std::filesystem::copy_file(fixture.path(), pristine);
  for (const char* change :
       {"user = 'bob'", "key = 'x'", "epoch = 9", "peer = 'node3'", "at = 1", "lifts_ban = 1",
        "ordered_by = 'uid 7'", "reason = 'another'", "mac = zeroblob(32)"}) {
    INFO(change);
    std::filesystem::copy_file(pristine, fixture.path(),
                               std::filesystem::copy_options::overwrite_existing);
    edit(fixture.path(), std::string("UPDATE renewal_orders SET ") + change);
    auto store = fixture.open();
    REQUIRE(code_of(store->renewal_orders("")) == ErrorCode::kStorageFailed);
  }
}

}  // namespace cosigner::supervisor::test
