#pragma once
// What a node must not forget, and the promises about it, as plain synchronous calls on one SQLite
// file (WAL, synchronous=FULL, secure_delete). The store's own thread makes them (store.h); tests
// make them directly.
//
// The promise of an acknowledgement (design: "Commit of keygen, refresh and reshare"): a pending
// share that was acknowledged stays until a commit certificate activates it or another
// participant's signed refusal discards it, and meanwhile nothing else is acknowledged for that
// key. A record that was refused is never acknowledged.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ipc/key_record.h"
#include "ipc/messages.h"
#include "supervisor/store/row_mac.h"
#include "supervisor/store/sqlite.h"

namespace cosigner::supervisor {

/// The newest schema this release writes; it refuses a file with a newer one untouched.
inline constexpr std::uint64_t kSchemaVersion = 1;

struct StoreIdentity {
  std::string cluster;
  std::string node;
  std::vector<ipc::Peer> peers;  ///< whose acknowledgements and refusals count, this node included
};

struct StoredResult {
  std::string user;
  SessionId session;
  Ed25519PublicKey initiator;
  Bytes<16> id;
  std::uint64_t keep_until_ms = 0;
  ByteVector answer;
};

struct FoundResult {
  bool found = false;     ///< `answer` is this session's
  bool replayed = false;  ///< the initiator used this id for another session
  ByteVector answer;
};

class KeyStore {
 public:
  /// Opens or creates the file. Errors: storage_failed; unsupported_version for a newer schema.
  [[nodiscard]] static Expected<std::unique_ptr<KeyStore>> open(const std::string& path,
                                                                ByteView key_encryption_key,
                                                                StoreIdentity identity);

  // Transactions: the thread groups calls. A call that fails leaves no trace of itself.
  [[nodiscard]] Expected<void> begin();
  [[nodiscard]] Expected<void> commit();
  void rollback();
  /// A part of the transaction that can fail alone.
  [[nodiscard]] Expected<void> savepoint();
  /// Ends the part: keeps it, or takes it back.
  void release(bool keep);

  /// The first of `count` generations that were never handed out before.
  [[nodiscard]] Expected<std::uint64_t> reserve_generations(std::uint64_t count);

  /// All epochs of a user's keys, pending ones included, checked row by row.
  [[nodiscard]] Expected<std::vector<ipc::StoredKey>> keys_of(const std::string& user);
  [[nodiscard]] Expected<std::vector<std::string>> users();

  /// Errors: conflict (another record of this epoch, another pending epoch, a refused record, an
  /// epoch that is not the next), bad_request (a record that is not of this cluster, user, key or
  /// epoch, or without this node).
  [[nodiscard]] Expected<void> put_pending(const std::string& user, const ipc::StoredKey& key);
  /// Errors: unknown_key, bad_request or peer_misbehaved for a certificate that does not verify.
  [[nodiscard]] Expected<void> activate(const std::string& user, const std::string& key,
                                        std::uint64_t epoch, const SessionId& session,
                                        ByteView certificate);
  /// `refusal`: encoded key-refusal statement of another participant over the pending record.
  [[nodiscard]] Expected<void> discard(const std::string& user, const std::string& key,
                                       std::uint64_t epoch, const SessionId& session,
                                       ByteView refusal);
  /// Errors: conflict if that very record was acknowledged here.
  [[nodiscard]] Expected<void> refuse(const std::string& user, const std::string& key,
                                      std::uint64_t epoch, const SessionId& session,
                                      const Digest& digest);

  [[nodiscard]] Expected<void> put_result(const StoredResult& result);
  [[nodiscard]] Expected<FoundResult> find_result(const SessionId& session,
                                                  const Ed25519PublicKey& initiator,
                                                  const Bytes<16>& id);
  /// Drops what nobody may ask for any more.
  [[nodiscard]] Expected<void> purge_results(std::uint64_t now_ms);

 private:
  struct Row {
    ipc::StoredKey key;
    KeyRecord record;
  };
  struct Queries;
  KeyStore(Database database, RowKey row_key, StoreIdentity identity);
  [[nodiscard]] Expected<void> prepare_schema();
  [[nodiscard]] Expected<std::vector<Row>> rows_of(const std::string& user, const std::string& key);
  [[nodiscard]] Expected<void> write(const std::string& user, const ipc::StoredKey& key);
  [[nodiscard]] Expected<void> erase(const std::string& user, const std::string& key,
                                     std::uint64_t epoch);
  [[nodiscard]] Expected<bool> refused(const std::string& user, const std::string& key,
                                       const Digest& digest);

  Database database_;
  RowKey row_key_;
  StoreIdentity identity_;
  std::unique_ptr<Queries, void (*)(Queries*)> queries_;
};

}  // namespace cosigner::supervisor
