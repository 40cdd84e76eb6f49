#pragma once
// The OT state of this user's keys with each peer: bans, burns, and renewals (README of
// this folder).
//
// A burn takes effect here at once: the pair is banned, its state erased from the open share, and
// the caller cuts what else runs with it (take_burnt()). Until the store has confirmed, muted()
// holds, and the engine lets nothing out that a peer or a client could see.
//
// A renewal, on an operator's order:
//   ordered ──▶ both workers agree (PairNotice) ──▶ a session between the two makes new state
//           ──▶ each makes it durable ──▶ each hears that the other has, and lifts.
// The order is durable and stays until then, so that whatever dies, the next worker goes on. A
// peer without an order of its own takes part unless it has banned us itself.

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "worker/session/environment.h"
#include "worker/session/key_ring.h"
#include "worker/session/peers.h"
#include "worker/session/session_messages.h"

namespace cosigner::worker {

class Pairs {
 public:
  /// A key and the peer on the other side.
  struct Name {
    std::string key;
    std::string node;
    auto operator<=>(const Name&) const = default;
  };

  /// `standings` are the store's; keys that are banned for strikes still have state, which is
  /// erased by erase_banned().
  Pairs(Environment& environment, Peers& peers, KeyRing& keys,
        std::vector<ipc::PairStanding> standings);

  /// Once the key ring is complete.
  void erase_banned();

  // ---- bans
  [[nodiscard]] bool banned(const std::string& key, const std::string& node) const;
  [[nodiscard]] std::vector<std::string> banned_from(const std::string& key) const;
  /// For a hello: the state this node holds, but for banned pairs.
  [[nodiscard]] std::vector<PairOffer> offers(const std::string& key) const;
  /// A class C failure.
  void burn(const std::string& key, const std::string& node);
  /// Pairs burnt since the last call, to be cut.
  [[nodiscard]] std::vector<Name> take_burnt() { return std::exchange(burnt_, {}); }
  [[nodiscard]] bool muted() const { return unconfirmed_burns_ > 0; }

  // ---- renewals (renewal.cc)
  void on_order(const ipc::RenewPair& order);
  /// `may_begin`: this worker still takes new work.
  void on_notice(const std::string& from, const PairNotice& notice, bool may_begin);
  /// A peer's worker is new or present again.
  void meet(const std::string& node);
  /// Renewal sessions to begin, unless they run.
  [[nodiscard]] std::vector<Name> take_begins() { return std::exchange(begins_, {}); }
  /// A renewal session has ended with the key's secret as it was then, and new state with `node`.
  void renewed(const Name& pair, ByteView secret);
  /// Its session is over, or could not begin.
  void ended(const Name& pair);

  /// True if the order was one of ours.
  bool on_stored(const ipc::Stored& stored);
  void on_timer();
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;
  [[nodiscard]] std::size_t orders() const { return orders_.size(); }

 private:
  /// A renewal is 35 ms of work for each side, a share written, and a key that is not idle. An
  /// ordered one runs once a second at most; of those that only the peer wants each waits twice as
  /// long as the one before, and all begin anew once the peer has been quiet for the longest wait.
  static constexpr std::int64_t kBeginAgainUs = 1'000'000;
  static constexpr std::int64_t kUnorderedCapUs = 600'000'000;

  struct Pair {
    std::uint64_t epoch = 0;
    bool banned = false;
    ipc::PairRenewal renewal = ipc::PairRenewal::kNone;
    bool running = false;  ///< a session renews it
    bool storing = false;  ///< new state is in the open share, and not durable yet
    bool lifting = false;  ///< ordered
    bool differs = false;  ///< the peer holds other state than we: run again
    std::int64_t due_us = INT64_MAX;
    std::int64_t interval_us = 0;
    std::int64_t begun_us = INT64_MIN / 2;
    std::int64_t unordered_us = kBeginAgainUs;  ///< to the next one that only the peer wants
  };
  enum class OrderKind { kBurn, kErase, kRenewed, kLift };
  struct Order {
    OrderKind kind = OrderKind::kBurn;
    Name pair;
    std::uint64_t epoch = 0;
  };

  [[nodiscard]] const KeyEpoch* epoch_of(const Name& name, std::uint64_t epoch) const;
  Pair& pair_of(const Name& name);
  [[nodiscard]] const Pair* find(const Name& name) const;
  std::uint64_t order(OrderKind kind, const Name& name, std::uint64_t epoch);
  void order_burn(const Name& name, bool failed);
  void order_renewed(const Name& name);
  void retry(OrderKind kind, const Name& name, const ipc::Stored& stored);
  /// The open share without the pair's state; false if there was none.
  bool erase(const Name& name);
  [[nodiscard]] ParticipantIndex index_of(const Name& name) const;

  // renewal.cc
  void schedule(Pair& pair, std::int64_t interval_us);
  void send_notice(const Name& name, const Pair* pair, PairNotice::Wish wish);
  void compare(const Name& name, Pair& pair, const PairNotice& notice);
  void durable(const Name& name, Pair& pair);

  Environment& environment_;
  Peers& peers_;
  KeyRing& keys_;
  std::map<Name, Pair> pairs_;
  std::map<std::uint64_t, Order> orders_;
  std::map<std::int64_t, std::vector<std::pair<OrderKind, Name>>>
      again_;  ///< store orders, by when
  std::size_t unconfirmed_burns_ = 0;
  std::vector<Name> burnt_;
  std::vector<Name> begins_;
};

/// The session that renews a pair is the same on both nodes.
[[nodiscard]] SessionId renewal_session(std::string_view cluster, std::string_view user,
                                        const KeyEpoch& key, std::string_view node_a,
                                        std::string_view node_b);

}  // namespace cosigner::worker
