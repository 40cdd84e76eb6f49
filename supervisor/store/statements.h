#pragma once
// The store's schema and its prepared statements. Private to supervisor/store.

#include "supervisor/store/store.h"

namespace cosigner::supervisor {

// Shares are sealed by their worker and stored as they come. `mac` authenticates all columns before
// it. Names are stored as they are; digests, sessions and keys as blobs.
inline constexpr const char* kSchema = R"sql(
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
-- Strikes and bans of pairwise OT state. open: a check has begun and not ended.
CREATE TABLE pairs(user TEXT NOT NULL, key TEXT NOT NULL, epoch INTEGER NOT NULL,
  peer TEXT NOT NULL, open INTEGER NOT NULL, strikes INTEGER NOT NULL, banned INTEGER NOT NULL,
  mac BLOB NOT NULL, PRIMARY KEY(user, key, epoch, peer)) WITHOUT ROWID;
)sql";

struct Store::Statements {
  SqlStatement get_counter;
  SqlStatement put_counter;
  SqlStatement keys_of_user;
  SqlStatement epochs_of_key;
  SqlStatement put_key;
  SqlStatement erase_key;
  SqlStatement get_acknowledgement;
  SqlStatement put_acknowledgement;
  SqlStatement get_refusal;
  SqlStatement put_refusal;
  SqlStatement get_result;
  SqlStatement get_result_by_id;
  SqlStatement put_result;
  SqlStatement purge_results;
  SqlStatement get_pair;
  SqlStatement pairs_of_user;
  SqlStatement put_pair;
  SqlStatement erase_pair;
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
