#pragma once
// Makes presignatures and keeps them: which to make next, with whom, how many at once; what a peer
// may ask of this node; and which presignature signs.
//
// Who proposes: every node for itself. A presignature belongs to the node that proposed it, its
// owner, which alone may name it, in attempts that it coordinates. So there is one deterministic
// proposer for each (set, owner), and nobody has to agree on which presignature is used: the owner
// picks, and it offers only what every member has confirmed to hold.
//
// What authorises it: nothing leaves the nodes that a client would have to ask for. A proposal
// comes over the channel of a certified worker of the same user; it wakes nobody; and each node
// caps by its own configuration what it keeps and makes for each owner. Beyond the configured pool
// only a client's request counts, which every node checks for itself (a grant).
//
// Foreground first: a refill begins only when no session has run for kQuietUs, or below the
// low-water mark, one run at a time.

#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ipc/answer.h"
#include "ipc/request.h"
#include "worker/session/check_notices.h"
#include "worker/session/key_ring.h"
#include "worker/session/pairs.h"
#include "worker/session/presign_backoff.h"
#include "worker/session/presign_run.h"
#include "worker/session/protocol_factory.h"
#include "worker/session/rendezvous.h"

namespace cosigner::worker {

class Presigner {
 public:
  /// Runs of this node as owner at once: for requests, for refill when idle, below the low-water
  /// mark while sessions run.
  static constexpr std::size_t kOrderedAtOnce = 4;
  static constexpr std::size_t kRefillAtOnce = 2;
  static constexpr std::size_t kRefillBusyAtOnce = 1;
  static constexpr std::size_t kLowWaterPart = 4;  ///< of the pool's size
  static constexpr std::int64_t kQuietUs = 20'000;
  /// Runs at once that one owner may have with this node.
  static constexpr std::size_t kAtOnceForOwner = 8;
  /// A request that gets no further ends with what it has.
  static constexpr std::int64_t kStuckUs = 4'000'000;
  /// An owner's "not below this number" takes effect on what is older than this: a start that names
  /// one of them may be under way.
  static constexpr std::int64_t kFloorDelayUs = 30'000'000;
  static constexpr std::int64_t kReportIntervalUs = 250'000;
  static constexpr std::size_t kMaxGrants = 256;

  Presigner(Environment& environment, Peers& peers, KeyRing& keys, Pairs& pairs,
            ProtocolFactory& protocols, CheckNotices& checks);

  // ---- signing
  using Offers = std::map<std::string, std::uint64_t, std::less<>>;  ///< node → generation

  /// How many presignatures of `owner` this node holds for that key and epoch. A key that is asked
  /// about is in use: its pool is kept filled from now on.
  [[nodiscard]] std::uint32_t held_for(const KeyEpoch& key, std::string_view owner);
  /// The set with most in stock among nodes that have offered, and that is `usable`; null if none
  /// is.
  [[nodiscard]] const SigningSet* best_set(
      const KeyEpoch& key, const Offers& offers,
      const std::function<bool(const SigningSet&)>& usable = {});
  [[nodiscard]] std::optional<dkls23::Presignature> take_own(const KeyEpoch& key,
                                                             const SigningSet& signers);
  [[nodiscard]] std::optional<dkls23::Presignature> take_named(const KeyEpoch& key,
                                                               const Digest& id,
                                                               std::string_view owner,
                                                               const SigningSet& signers);

  /// Its owner's start came too late for this node: the owner has none any more, so this part would
  /// only fill its quota.
  void drop_named(const Digest& id, std::string_view owner);

  // ---- a client's request: count presignatures in all, each participant makes its part
  void begin_order(const Request& request, const SessionId& id, ByteVector envelope);
  struct Done {
    SessionId order;
    std::variant<Error, PresignResult> outcome;
  };
  void fail_order(const SessionId& id, Error error) {
    orders_.erase(id);
    done_.push_back({id, std::move(error)});
  }
  [[nodiscard]] std::vector<Done> take_done() { return std::exchange(done_, {}); }

  // ---- what comes in
  /// False: it cannot be read.
  [[nodiscard]] bool on_message(const std::string& from, MessageKind kind, ByteView fields);
  /// Another worker of that node, or a ban: everything made with it is wiped.
  void forget_node(const std::string& node);
  /// Another epoch of that key.
  void forget_key(std::string_view key);
  void on_undelivered(const std::string& node);
  /// A node has come, or its worker is known now.
  void stir() { stirred_ = true; }
  void on_timer();
  void drain() {
    draining_ = true;
    stirred_ = true;
  }
  /// Answers every request that is still being served, with that error and how many were made for
  /// it until now.
  void end_orders(const Error& error);

  /// Once a turn, at its end. `foreground`: sessions running.
  void pump(std::size_t foreground);
  [[nodiscard]] std::int64_t next_deadline() const { return next_us_; }
  [[nodiscard]] std::size_t runs() const { return runs_.size(); }
  [[nodiscard]] std::size_t orders() const { return orders_.size(); }
  /// Own ones that may be named now, and all that are held.
  struct Depth {
    std::size_t ready = 0;
    std::size_t held = 0;
    friend bool operator==(const Depth&, const Depth&) = default;
  };
  [[nodiscard]] Depth depth(std::string_view key) const;

 private:
  /// One signing set that this node owns presignatures for.
  struct Stream {
    std::vector<Participant> members;
    std::int64_t not_before_us = 0;
    std::uint32_t failures = 0;
    std::size_t running = 0;
  };
  /// A peer's bad record: how long no proposal of it is taken.
  struct Penalty {
    std::int64_t until_us = 0;
    std::uint32_t failures = 0;
  };
  struct Stock {
    Stock(std::string key_name, const std::string& node) : key(std::move(key_name)), pool(node) {}
    std::string key;
    Digest record;
    std::uint64_t epoch = 0;
    std::uint16_t threshold = 0;
    std::vector<Participant> participants;
    bool used = false;
    PresignaturePool pool;
    std::vector<Stream> streams;
    std::uint64_t last_number = 0;
    std::map<std::string, Penalty, std::less<>> penalties;
    std::map<std::string, std::int64_t, std::less<>> trimmed_us;
    Depth reported;
    std::int64_t reported_us = INT64_MIN / 2;
  };
  struct Order {
    std::string key;
    ByteVector envelope;
    std::uint32_t wanted = 0;
    std::uint32_t made = 0;
    std::int64_t deadline_us = 0;
    std::int64_t stuck_us = 0;
    bool broken = false;  ///< this node cannot even begin: what it has made by now is all
    std::map<std::string, std::int64_t, std::less<>> woken_us;
  };
  struct Grant {
    std::string key;
    std::int64_t until_us = 0;
    std::map<std::string, std::uint32_t, std::less<>> left;  ///< runs, by owner
  };

  // presigner.cc: stock and orders
  [[nodiscard]] Stock* stock(const KeyEpoch& key);
  [[nodiscard]] Stock* find(std::string_view key);
  void make_streams(Stock& stock) const;
  /// Of an owned run; null for others.
  [[nodiscard]] Stream* stream_of(const PresignRun& run);
  void finish_order(const SessionId& id, Order& order, std::string_view why);
  /// Own runs for that order.
  [[nodiscard]] std::size_t running_for(const SessionId& order) const;
  void report(const std::string& key, Stock& stock);

  // presigner_owner.cc
  [[nodiscard]] std::size_t own_runs(std::string_view key, bool ordered) const;
  [[nodiscard]] bool usable(const Stock& stock, const Stream& stream);
  [[nodiscard]] bool begin_run(const KeyEpoch& key, Stock& stock, const SessionId& order);
  void pump_orders();
  void pump_refill(std::size_t foreground);

  // presigner_member.cc
  void on_propose(const std::string& from, const PresignPropose& message);
  [[nodiscard]] std::optional<SigningSet> signing_set(const Stock& stock,
                                                      const PresignPropose& message);
  [[nodiscard]] std::optional<PresignEnd::Reason> refusal(const std::string& from,
                                                          const PresignPropose& message,
                                                          Stock& stock);

  // presigner_runs.cc: both kinds
  [[nodiscard]] Result<std::unique_ptr<dkls23::PresignProtocol>> make_protocol(
      const KeyEpoch& key, const Stock& stock, const SessionId& run, ParticipantIndex assembler);
  /// Null: this node cannot make it; why is in the log.
  [[nodiscard]] std::unique_ptr<PresignRun> make_run(const KeyEpoch& key, const Stock& stock,
                                                     PresignRun::Setup setup);
  void note_exception(const std::exception& error);
  [[nodiscard]] std::unique_ptr<PairChecks> checks_for(const std::string& key,
                                                       const Stock& stock) const;
  void on_end(const std::string& from, const PresignEnd& message);
  /// Runs `body` on the run, then settles what came of it. An exception ends this run alone; only a
  /// refused allocation goes on to the caller.
  void touch(const SessionId& id, const std::function<void(PresignRun&)>& body);
  /// Settles what came of a run's last input.
  void review(const SessionId& id);
  void failed(const PresignRun& run, const PresignBackoff& backoff);
  void forget(std::map<SessionId, std::unique_ptr<PresignRun>>::iterator run);
  template <class Message, class Body>
  [[nodiscard]] bool route(const std::string& from, ByteView fields, Body body);

  Environment& environment_;
  Peers& peers_;
  KeyRing& keys_;
  Pairs& pairs_;
  ProtocolFactory& protocols_;
  CheckNotices& checks_;
  std::map<std::string, std::unique_ptr<Stock>, std::less<>> stocks_;
  std::map<SessionId, std::unique_ptr<PresignRun>> runs_;
  std::map<SessionId, Order> orders_;
  std::map<SessionId, Grant> grants_;
  std::vector<Done> done_;
  std::size_t foreground_ = 0;
  std::int64_t foreground_us_ = INT64_MIN / 2;  ///< when a session was last running
  std::int64_t next_us_ = INT64_MAX;
  bool stirred_ = false;  ///< something happened that may let a run begin
  bool draining_ = false;
};

}  // namespace cosigner::worker
