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
#include "ipc/messages.h"
#include "supervisor/store/sqlite.h"

namespace cosigner::supervisor {

/// The newest schema this release knows; a newer file is refused.
inline constexpr int kSchemaVersion = 1;

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

/// A pair of participants that may not sign together: `ban` once true, else strikes so far.
struct PeerRecord {
  std::string key;
  std::uint64_t epoch = 0;
  std::string peer;
  std::uint64_t strikes = 0;
  bool banned = false;
  friend bool operator==(const PeerRecord&, const PeerRecord&) = default;
};
/// Deaths between checking() and checked() that ban a pair.
inline constexpr std::uint64_t kStrikesToBan = 3;

class Store {
 public:
  /// Creates or opens. Errors: storage_failed (unsupported_version for a newer schema; a wrong
  /// key-encryption key is said to be one).
  [[nodiscard]] static Expected<Store> open(const std::string& path, ByteView key_encryption_key,
                                            StoreIdentity identity);

  // Transactions: the owner groups several operations in one. An operation that fails has changed
  // nothing.
  [[nodiscard]] Expected<void> begin();
  [[nodiscard]] Expected<void> commit();
  void rollback();
  /// Runs `work` so that its failure undoes what it did and nothing else. Requires begin().
  template <class Work>
  auto operation(Work&& work) -> decltype(work(*this)) {
    if (auto set = database_.execute("SAVEPOINT operation"); !set) {
      return std::unexpected(set.error());
    }
    auto result = work(*this);
    if (!result) {
      static_cast<void>(database_.execute("ROLLBACK TO operation"));
    }
    if (auto released = database_.execute("RELEASE operation"); !released) {
      return std::unexpected(released.error());
    }
    return result;
  }

  /// Reserves [first, first + count) for good; never 0.
  [[nodiscard]] Expected<std::uint64_t> reserve_generations(std::uint64_t count);

  // ---- keys (user is the socket's, never a frame's)
  /// All epochs of all keys of a user, by key and epoch.
  [[nodiscard]] Expected<std::vector<ipc::StoredKey>> keys_of(const std::string& user);
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
  /// Promises never to acknowledge the record with this digest. Errors: conflict if it was.
  [[nodiscard]] Expected<void> refuse(const std::string& user, const ipc::StoreRefusal& order);

  // ---- results
  /// The first result of a session stays. Errors: conflict if the session is another user's.
  [[nodiscard]] Expected<void> store_result(const std::string& user,
                                            const ipc::StoreResult& result);
  /// `answer` only for the user it was stored for.
  [[nodiscard]] Expected<FoundResult> find_result(const std::string& user,
                                                  const ipc::ResultLookup& lookup);
  /// Removes results past their time, at most `limit`; returns how many.
  [[nodiscard]] Expected<std::uint64_t> purge_results(std::uint64_t now_ms, std::uint64_t limit);

  // ---- burn: strikes and bans of pairwise OT state
  /// A check of `peer`'s OT or VOLE messages begins: durable before it runs.
  [[nodiscard]] Expected<void> checking(const std::string& user, const PeerRecord& pair);
  /// It ended well.
  [[nodiscard]] Expected<void> checked(const std::string& user, const PeerRecord& pair);
  /// It failed: banned until renewed.
  [[nodiscard]] Expected<void> ban(const std::string& user, const PeerRecord& pair);
  /// Checks that a death interrupted become strikes, the third a ban. Call before a worker starts.
  [[nodiscard]] Expected<std::vector<PeerRecord>> settle_strikes(const std::string& user);
  /// After renewal of the pair's OT state.
  [[nodiscard]] Expected<void> lift(const std::string& user, const PeerRecord& pair);

  /// True once after an operation erased a share: the owner then truncates the log, where SQLite
  /// would keep the old page until it is overwritten.
  [[nodiscard]] bool take_erased() { return std::exchange(erased_, false); }
  [[nodiscard]] Expected<void> truncate_log();

  Store(Store&&) noexcept;
  Store& operator=(Store&&) noexcept;
  ~Store();

 private:
  struct Statements;
  Store(SqlDatabase database, StoreIdentity identity, GuardedKey mac_key);
  Expected<void> migrate();
  Expected<void> prepare();
  Expected<void> check_key();
  Digest mac(std::string_view table, std::initializer_list<ByteView> columns) const;

  Expected<std::vector<ipc::StoredKey>> epochs_of(const std::string& user, const std::string& key);
  Expected<void> write_key(const std::string& user, const ipc::StoredKey& key);
  Expected<void> erase_key(const std::string& user, const std::string& key, std::uint64_t epoch);
  /// 0: never acknowledged.
  Expected<std::uint64_t> acknowledged(const std::string& user, const Digest& digest);
  Expected<void> set_acknowledged(const std::string& user, const std::string& key,
                                  std::uint64_t epoch, const Digest& digest, std::uint64_t state);
  Expected<bool> refused(const std::string& user, const Digest& digest);
  Expected<std::optional<PeerRecord>> find_pair(const std::string& user, const PeerRecord& pair,
                                                bool& open);
  Expected<void> write_pair(const std::string& user, const PeerRecord& pair, bool open);

  SqlDatabase database_;
  StoreIdentity identity_;
  GuardedKey mac_key_;
  std::unique_ptr<Statements> sql_;
  bool erased_ = false;
};

}  // namespace cosigner::supervisor
