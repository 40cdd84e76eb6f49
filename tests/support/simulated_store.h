#pragma once
// What a node of the simulation keeps when its worker dies: keys, refusals, results, bans, the
// generation. It answers a worker's orders as the supervisor and its store do.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "crypto/identity/ed25519_key.h"
#include "crypto/identity/statement.h"
#include "ipc/error.h"
#include "ipc/pair_messages.h"
#include "ipc/store_messages.h"

namespace cosigner::test {

/// The durable side of one node: keys, refusals, results, the generation.
class SimulatedStore {
 public:
  SimulatedStore(std::string cluster, std::string node, std::string user,
                 const std::vector<ipc::Peer>& peers, const IdentityKey& identity)
      : cluster_(std::move(cluster)),
        node_(std::move(node)),
        user_(std::move(user)),
        peers_(peers),
        identity_(identity) {}

  std::uint64_t generation = 0;
  std::map<std::string, ipc::StoredKey> pending;
  std::map<std::string, ipc::StoredKey> active;
  std::set<Digest> refused;
  std::set<Digest> acknowledged;           ///< ever
  std::map<Digest, ByteVector> discarded;  ///< and on whose refusal
  std::map<SessionId, ByteVector> results;
  std::map<std::pair<Ed25519PublicKey, Bytes<16>>, SessionId> ids;
  bool fail_pending = false;  ///< a full disk
  bool unreadable = false;    ///< for lookups
  struct Pair {
    std::uint64_t epoch = 0;
    bool banned = false;
    ipc::PairRenewal renewal = ipc::PairRenewal::kNone;
    int strikes = 0;
  };
  std::map<std::pair<std::string, std::string>, Pair> pairs;  ///< by key and peer
  bool fail_burn = false;
  int fail_lifts = 0;  ///< so many of the next ones
  int fail_activations = 0;
  int fail_discards = 0;

  ipc::Stored apply(const ipc::Burn& order);
  ipc::Stored apply(const ipc::StoreRenewed& order);
  ipc::Stored apply(const ipc::LiftBan& order);
  void strike(const ipc::Checking& check);

  ipc::Stored apply(const ipc::StorePending& order, std::uint64_t worker_generation);
  ipc::Stored apply(const ipc::StoreActivate& order);
  ipc::Stored apply(const ipc::StoreDiscard& order);
  ipc::Stored apply(const ipc::StoreRefusal& order, std::uint64_t worker_generation);
  void apply(const ipc::StoreResult& order);
  [[nodiscard]] ipc::ResultFound apply(const ipc::ResultLookup& order) const;

 private:
  static ipc::Stored done(std::uint64_t order);
  static ipc::Stored failed(std::uint64_t order, ErrorCode code);
  ipc::Stored stated(std::uint64_t order, StatementKind kind, std::uint64_t worker_generation,
                     const std::string& key, std::uint64_t epoch, const SessionId& session,
                     const Digest& digest);
  [[nodiscard]] const Ed25519PublicKey& identity_of(const std::string& node) const;

  std::string cluster_;
  std::string node_;
  std::string user_;
  const std::vector<ipc::Peer>& peers_;
  const IdentityKey& identity_;
};

}  // namespace cosigner::test
