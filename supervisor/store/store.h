#pragma once
// The node's durable memory: generations, sealed shares with their records, promises, results,
// strikes and bans. SQLite in WAL mode with synchronous=FULL. Every row carries an HMAC-SHA-256
// under a key derived from the key-encryption key, over its table and all its columns: a file that
// someone else edited is noticed row by row. What is not noticed is a row taken away or a whole
// older file put back (README).
//
// Blocking; one thread owns it (store/store_thread.h), inside transactions that the owner opens.
//
// The promise of a commit: a share that was acknowledged stays `pending` until activate() with all
// participants' acknowledgements or discard() with one participant's signed refusal; meanwhile
// nothing else of that key is acknowledged. What was acknowledged once is remembered for good, so
// that "never acknowledged, never will" is never said of it.

#include <optional>
#include <string>
#include <vector>

#include "crypto/identity/statement.h"
#include "ipc/key_file.h"
#include "ipc/pair_messages.h"
#include "ipc/store_messages.h"
#include "supervisor/store/sqlite.h"

namespace cosigner::supervisor {

/// The newest schema this release knows; a newer file is refused.
inline constexpr int kSchemaVersion = 3;

/// Whose store it is: what rows are authenticated for and statements must name.
struct StoreIdentity {
  std::string cluster;
  std::string node;
  std::vector<ipc::Peer> peers;  ///< identity keys, to check acknowledgements and refusals
};

struct FoundResult {
  bool replayed = false;  ///< the same initiator and id belong to another session
  std::optional<ByteVector> answer;
};

/// Why a pair may not sign together.
enum class BanReason : std::uint8_t {
  kNone = 0,         ///< not banned
  kCheckFailed = 1,  ///< a class C failure: a check of the peer's OT or VOLE messages failed
  kStrikes = 2       ///< the worker died kStrikesToBan times during such a check
};
[[nodiscard]] std::string_view ban_reason_name(BanReason reason);

/// This node's OT state of one key with one peer is suspect, banned, or being renewed.
struct PairRecord {
  std::string user;
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  std::uint64_t strikes = 0;
  BanReason banned = BanReason::kNone;
  std::uint64_t banned_since_ms = 0;  ///< since 1970; 0 if not banned
  ipc::PairRenewal renewal = ipc::PairRenewal::kNone;
  friend bool operator==(const PairRecord&, const PairRecord&) = default;

  [[nodiscard]] ipc::PairStanding standing() const {
    return {key, epoch, peer, banned != BanReason::kNone, renewal};
  }
};
/// Deaths between Checking and Checked that ban a pair.
inline constexpr std::uint64_t kStrikesToBan = 3;

/// An operator's order to renew a pair's OT state.
struct RenewalOrder {
  std::string user;
  std::string key;
  std::string peer;
  bool lifts_ban = false;  ///< `unban`: only of a banned pair; else only of one that is not
  std::string reason;
  std::string ordered_by;
  std::uint64_t at_ms = 0;
  std::uint64_t epoch = 0;  ///< of the key when it was ordered; filled in by the store
};

class Store {
 public:
  /// Creates or opens. Errors: storage_failed (unsupported_version for a newer schema; a wrong
  /// key-encryption key is said to be one).
  [[nodiscard]] static Expected<Store> open(const std::string& path, ByteView key_encryption_key,
                                            StoreIdentity identity);

  // Transactions: the owner groups several operations in one. An operation that fails has changed
  // nothing.
  [[nodiscard]] Expected<void> begin();
  /// Errors: nothing of the transaction is durable; roll it back.
  [[nodiscard]] Expected<void> commit();
  /// Error: the transaction stays open, and begin() fails from now on.
  [[nodiscard]] Expected<void> rollback();
  /// False after begin(): SQLite has rolled the transaction back by itself (disk full, I/O error,
  /// out of memory), and whatever came after would not be part of it.
  [[nodiscard]] bool in_transaction() const { return database_.in_transaction(); }
  /// Runs `work` so that its failure undoes what it did and nothing else. Requires begin().
  template <class Work>
  auto operation(Work&& work) -> decltype(work(*this)) {
    if (auto set = database_.execute("SAVEPOINT operation"); !set) {
      return std::unexpected(set.error());
    }
    auto result = work(*this);
    if (!result) {
      undo_operation();
      return result;
    }
    if (auto released = database_.execute("RELEASE operation"); !released) {
      undo_operation();
      return std::unexpected(released.error());
    }
    return result;
  }

  /// The configuration was read again.
  void set_peers(std::vector<ipc::Peer> peers) { identity_.peers = std::move(peers); }

  /// Reserves [first, first + count) for good; never 0, and `first` is at least `floor`: what an
  /// older file put back does not know of is beyond numbers that were given out since, if the
  /// floor is.
  [[nodiscard]] Expected<std::uint64_t> reserve_generations(std::uint64_t count,
                                                            std::uint64_t floor = 0);

  // ---- keys (user is the socket's, never a frame's)
  /// All epochs of all keys of a user, by key and epoch.
  [[nodiscard]] Expected<std::vector<ipc::StoredKey>> keys_of(const std::string& user);
  /// The same without rows that were altered outside: one such row denies one key, not all.
  struct IntactKeys {
    std::vector<ipc::StoredKey> keys;
    std::vector<std::string> altered;  ///< names
  };
  [[nodiscard]] Expected<IntactKeys> intact_keys_of(const std::string& user);
  /// Every user that a stored key names, by name; one that an altered row names is among them.
  [[nodiscard]] Expected<std::vector<std::string>> key_owners();
  /// Makes `key` durable as pending. The record must be this cluster's, this user's, and fit the
  /// other fields. Errors: bad_request, conflict (another pending share, a refused or discarded
  /// record, an epoch that is over), already_exists (epoch 1 of a key that is there).
  [[nodiscard]] Expected<void> store_pending(const std::string& user, const ipc::StoredKey& key);
  /// pending → active; earlier epochs are erased. `certificate`: all participants' acknowledgements
  /// of the pending record, verified here. Doing it again is no error. Errors: unknown_key,
  /// conflict (the pending share is another session's), bad_request, peer_misbehaved.
  [[nodiscard]] Expected<void> activate(const std::string& user, const ipc::StoreActivate& order);
  /// Erases a pending share on another participant's signed refusal of its record. Doing it again
  /// is no error. Errors: unknown_key, conflict (active), bad_request, peer_misbehaved.
  [[nodiscard]] Expected<void> discard(const std::string& user, const ipc::StoreDiscard& order);
  /// Promises never to acknowledge the record with this digest: nothing is returned. Or it was
  /// discarded: the refusal that was the licence, another participant's. Errors: conflict if it
  /// was acknowledged and is not discarded.
  [[nodiscard]] Expected<ByteVector> refuse(const std::string& user,
                                            const ipc::StoreRefusal& order);

  // ---- results
  /// The first result of a session stays. Errors: conflict if the session is another user's.
  [[nodiscard]] Expected<void> store_result(const std::string& user,
                                            const ipc::StoreResult& result);
  /// `answer` only for the user it was stored for.
  [[nodiscard]] Expected<FoundResult> find_result(const std::string& user,
                                                  const ipc::ResultLookup& lookup);
  /// Removes results past their time, at most `limit`; returns how many.
  [[nodiscard]] Expected<std::uint64_t> purge_results(std::uint64_t now_ms, std::uint64_t limit);

  // ---- burn: strikes, bans and renewals of pairwise OT state (pairs.cc)
  /// A worker died during a check of this peer's messages. Returns what the pair is now; nothing if
  /// there is no such key any more.
  [[nodiscard]] Expected<std::optional<PairRecord>> strike(const std::string& user,
                                                           const ipc::Checking& check,
                                                           std::uint64_t now_ms);
  /// Bans the pair and replaces the sealed share, together. True if it was not banned before; doing
  /// it again is no error. Errors: unknown_key, bad_request, conflict (only to erase, and the pair
  /// is not banned).
  [[nodiscard]] Expected<bool> burn(const std::string& user, const ipc::Burn& order,
                                    std::uint64_t now_ms);
  /// Records an operator's order for good. Errors: unknown_key, bad_request (no such pair of an
  /// ECDSA key; nothing to lift), banned (a ban that only an order to lift it may end).
  [[nodiscard]] Expected<PairRecord> order_renewal(RenewalOrder order);
  /// The share with the pair's new OT state. Errors: unknown_key, bad_request, banned (no order to
  /// renew a banned pair).
  [[nodiscard]] Expected<void> renewed(const std::string& user, const ipc::StoreRenewed& order);
  /// The pair is as good as new. Returns what it was; doing it again is no error. Errors: conflict
  /// (its new state is not stored).
  [[nodiscard]] Expected<PairRecord> lift(const std::string& user, const ipc::LiftBan& order);
  /// By key, epoch and peer; of all users if `user` is empty.
  [[nodiscard]] Expected<std::vector<PairRecord>> pairs_of(const std::string& user);
  /// Banned pairs of all users.
  [[nodiscard]] Expected<std::uint64_t> count_bans();
  /// Every order, oldest first; of all users if `user` is empty.
  [[nodiscard]] Expected<std::vector<RenewalOrder>> renewal_orders(const std::string& user);

  /// True once after an operation erased a share: the owner then truncates the log, where SQLite
  /// would keep the old page until it is overwritten.
  [[nodiscard]] bool take_erased() { return std::exchange(erased_, false); }
  /// False: a reader is in the way, so that the log has to be truncated later.
  [[nodiscard]] Expected<bool> truncate_log();

  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

 private:
  struct Statements;
  Store(SqlDatabase database, StoreIdentity identity, GuardedKey mac_key);
  Expected<void> migrate();
  Expected<void> prepare();
  Expected<void> check_key();
  /// Back to the savepoint, or else nothing of the transaction may be committed.
  void undo_operation();
  Digest mac(std::string_view table, std::initializer_list<ByteView> columns) const;

  /// `altered`: gets the names of rows that were altered; without it one such row is an error.
  Expected<std::vector<ipc::StoredKey>> epochs_of(const std::string& user, const std::string& key,
                                                  std::vector<std::string>* altered = nullptr);
  Expected<void> write_key(const std::string& user, const ipc::StoredKey& key);
  Expected<void> erase_key(const std::string& user, const std::string& key, std::uint64_t epoch);
  /// 0: never acknowledged.
  Expected<std::uint64_t> acknowledged(const std::string& user, const Digest& digest);
  Expected<void> set_acknowledged(const std::string& user, const std::string& key,
                                  std::uint64_t epoch, const Digest& digest, std::uint64_t state);
  Expected<bool> refused(const std::string& user, const Digest& digest);
  /// A record without strikes, ban or order if the pair has none.
  Expected<PairRecord> find_pair(const std::string& user, const std::string& key,
                                 std::uint64_t epoch, const std::string& peer);
  Expected<void> write_pair(const PairRecord& pair);
  /// The stored epoch, if `peer` is another participant of it. Errors: unknown_key, bad_request.
  Expected<ipc::StoredKey> key_with_peer(const std::string& user, const std::string& key,
                                         std::uint64_t epoch, const std::string& peer);
  Expected<void> replace_share(const std::string& user, ipc::StoredKey key, ByteVector sealed);

  SqlDatabase database_;
  StoreIdentity identity_;
  GuardedKey mac_key_;
  std::unique_ptr<Statements> sql_;
  bool erased_ = false;
  bool spoilt_ = false;  ///< the transaction has in it what a failed operation did
};

}  // namespace cosigner::supervisor
