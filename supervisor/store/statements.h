#pragma once
// The store's schema and its prepared statements. Private to supervisor/store.

#include <array>

#include "supervisor/store/store.h"

namespace cosigner::supervisor {

// Shares are sealed by their worker and stored as they come. `mac` authenticates all columns before
// it. Names are stored as they are; digests, sessions and keys as blobs.
inline constexpr const char* kSchema1 = R"sql(
CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL, mac BLOB NOT NULL)
  WITHOUT ROWID;
CREATE TABLE keys(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  state INTEGER NOT NULL, session BLOB NOT NULL, record BLOB NOT NULL, sealed_share BLOB NOT NULL,
  certificate BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, key, epoch));
-- Every record this node ever acknowledged. state: 1 standing, 2 discarded on a peer's refusal.
CREATE TABLE acknowledgements(user TEXT NOT NULL, digest BLOB NOT NULL, key TEXT NOT NULL,
  epoch INTEGER NOT NULL, state INTEGER NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, digest))
  WITHOUT ROWID;
CREATE TABLE refusals(user TEXT NOT NULL, digest BLOB NOT NULL, key TEXT NOT NULL,
  epoch INTEGER NOT NULL, session BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY(user, digest))
  WITHOUT ROWID;
CREATE TABLE results(session BLOB PRIMARY KEY, user TEXT NOT NULL, initiator BLOB NOT NULL,
  id BLOB NOT NULL, keep_until INTEGER NOT NULL, answer BLOB NOT NULL, mac BLOB NOT NULL);
CREATE INDEX results_by_id ON results(initiator, id);
CREATE INDEX results_by_time ON results(keep_until);
CREATE TABLE pairs(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  peer TEXT NOT NULL, open INTEGER NOT NULL, strikes INTEGER NOT NULL, banned INTEGER NOT NULL,
  mac BLOB NOT NULL, PRIMARY KEY(user, key, epoch, peer)) WITHOUT ROWID;
)sql";
// Nothing was ever written to the first table of pairs.
inline constexpr const char* kSchema2 = R"sql(
DROP TABLE pairs;
-- Pairwise OT state that is suspect, banned or being renewed. banned: BanReason; renewal:
-- ipc::PairRenewal.
CREATE TABLE pairs(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  peer TEXT NOT NULL, strikes INTEGER NOT NULL, banned INTEGER NOT NULL,
  banned_since INTEGER NOT NULL, renewal INTEGER NOT NULL, mac BLOB NOT NULL,
  PRIMARY KEY(user, key, epoch, peer)) WITHOUT ROWID;
-- Operators' orders to renew a pair, with their reasons, for good.
CREATE TABLE renewal_orders(number INTEGER PRIMARY KEY, user TEXT NOT NULL, key TEXT NOT NULL,
  epoch INTEGER NOT NULL, peer TEXT NOT NULL, at INTEGER NOT NULL, lifts_ban INTEGER NOT NULL,
  ordered_by TEXT NOT NULL, reason TEXT NOT NULL, mac BLOB NOT NULL);
)sql";
inline constexpr const char* kSchema3 = R"sql(
-- The refusal on which a record was discarded, for participants that its author told nothing.
CREATE TABLE discards(user TEXT NOT NULL, digest BLOB NOT NULL, refusal BLOB NOT NULL,
  mac BLOB NOT NULL, PRIMARY KEY(user, digest)) WITHOUT ROWID;
)sql";
inline constexpr std::array kSchemaSteps = {kSchema1, kSchema2, kSchema3};
static_assert(kSchemaSteps.size() == kSchemaVersion);

struct Store::Statements {
  SqlStatement get_counter;
  SqlStatement put_counter;
  SqlStatement keys_of_user;
  SqlStatement epochs_of_key;
  SqlStatement key_owners;
  SqlStatement put_key;
  SqlStatement erase_key;
  SqlStatement get_acknowledgement;
  SqlStatement put_acknowledgement;
  SqlStatement get_refusal;
  SqlStatement put_refusal;
  SqlStatement get_discard;
  SqlStatement put_discard;
  SqlStatement get_result;
  SqlStatement get_result_by_id;
  SqlStatement put_result;
  SqlStatement purge_results;
  SqlStatement get_pair;
  SqlStatement pairs;
  SqlStatement put_pair;
  SqlStatement erase_pair;
  SqlStatement renewal_orders;
  SqlStatement put_renewal_order;
  SqlStatement count_bans;
};

/// Columns of integers, as the MAC covers them.
class Number {
 public:
  explicit Number(std::uint64_t value) {
    for (std::size_t i = 0; i < 8; ++i) {
      bytes_.data[i] = static_cast<std::uint8_t>(value >> (8 * (7 - i)));
    }
  }
  operator ByteView() const { return bytes_.view(); }  // NOLINT(google-explicit-constructor)

 private:
  Bytes<8> bytes_;
};

}  // namespace cosigner::supervisor
