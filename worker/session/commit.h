#pragma once
// The commit of new shares: pending → acknowledgements of all participants → certificate → active,
// or a participant's refusal → discarded.
//
// An acknowledgement is a promise. It binds this node, through timeouts and restarts, until it
// holds the certificate or a refusal of that very record; a worker that starts with a pending share
// acknowledges it again and asks the others, at once, at every meeting, and now and then.
// At most one record of a key is pending.

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/answer.h"
#include "ipc/key_record.h"
#include "worker/session/environment.h"
#include "worker/session/key_ring.h"
#include "worker/session/peers.h"
#include "worker/session/session_messages.h"

namespace cosigner::worker {

class Commits {
 public:
  /// What became of a session's commit.
  struct Event {
    enum class Kind { kActive, kRefused, kFailed };
    Kind kind = Kind::kActive;
    SessionId session;
    std::string key;
    std::string by;                      ///< kRefused: who refused
    std::optional<KeygenResult> result;  ///< kActive
    Error error;                         ///< kFailed: nothing was promised
  };
  /// How a running session stands towards a record that a peer has pending.
  enum class Standing {
    kMayComplete,  ///< its attempt is still running here
    kOver          ///< no session, or one that has gone on to a later attempt
  };

  Commits(Environment& environment, Peers& peers, KeyRing& keys)
      : environment_(environment), peers_(peers), keys_(keys) {}

  /// Begins with a finished key generation: seals the share and orders it stored.
  void begin(const SessionId& session, std::uint16_t attempt, KeyRecord record,
             const SecretVector& secret);
  /// A share that was pending when this worker started.
  void resume(KeyEpoch epoch);

  [[nodiscard]] bool pending(std::string_view key) const { return commits_.contains(key); }
  /// The session whose record of this key is pending.
  [[nodiscard]] const SessionId* session_of(std::string_view key) const;

  /// Participants whose acknowledgement of the pending record of this key is missing here.
  [[nodiscard]] std::vector<std::string> unacknowledged(std::string_view key) const;

  void on_acknowledge(const std::string& from, const Acknowledge& message, Standing standing);
  void on_certificate(const std::string& from, const CommitCertificate& message);
  void on_refusal(const Refusal& message);
  /// True if the order was one of ours.
  bool on_stored(const ipc::Stored& stored);
  /// A peer's worker is new or said something: ask it what is missing.
  void meet(const std::string& node);
  /// Ask one peer about the pending record of a key, whatever the clock says.
  void ask(std::string_view key, const std::string& node);
  void on_timer();
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;

  /// What happened since the last call.
  [[nodiscard]] std::vector<Event> take_events() { return std::exchange(events_, {}); }
  /// Orders of the store without an answer yet.
  [[nodiscard]] std::size_t orders() const { return orders_.size(); }

  /// The certificate of an active key, for a peer that lacks it.
  [[nodiscard]] static CommitCertificate certificate_of(const KeyEpoch& epoch);
  /// The result of the session that made an active key.
  [[nodiscard]] static std::optional<KeygenResult> result_of(const KeyEpoch& epoch);

 private:
  enum class State { kStoring, kWaiting, kActivating, kDiscarding };
  struct Commit {
    KeyEpoch epoch;
    std::uint16_t attempt = 0;
    State state = State::kStoring;
    bool resumed = false;
    std::map<std::string, Acknowledgement, std::less<>> acknowledgements;
    std::string refused_by;
    std::int64_t ask_us = 0;
    std::int64_t interval_us = 0;
  };
  enum class OrderKind { kPending, kActivate, kDiscard, kRefuse };
  struct Order {
    OrderKind kind = OrderKind::kPending;
    std::string key;
    Digest digest;
    std::string asker;  ///< kRefuse
  };
  /// Acknowledgements that came before the own share was durable.
  struct Early {
    std::string from;
    Acknowledge message;
  };

  std::uint64_t order(Order order);
  void store_pending(const Commit& commit);
  [[nodiscard]] Commit* find(std::string_view key, const Digest& digest);
  [[nodiscard]] bool add(Commit& commit, const std::string& node, Acknowledgement acknowledgement);
  [[nodiscard]] Acknowledge message_of(const Commit& commit, bool wanted) const;
  void announce(Commit& commit);
  void ask_missing(Commit& commit);
  void complete(Commit& commit);
  void activate(Commit& commit, ByteVector certificate);
  void refuse(const std::string& from, const Acknowledge& message);
  void pending_stored(const Order& order, const ipc::Stored& stored);

  Environment& environment_;
  Peers& peers_;
  KeyRing& keys_;
  std::map<std::string, Commit, std::less<>> commits_;  ///< by key
  std::map<std::uint64_t, Order> orders_;
  std::vector<Early> early_;
  /// Refusals that a peer may still have stored: a compromised node could else fill the store with
  /// refusals of records that nobody has made. An honest one needs one for each failed key
  /// generation.
  struct RefusalBudget {
    static constexpr std::uint32_t kAtOnce = 16;
    static constexpr std::int64_t kOneMoreUs = 10'000'000;
    std::uint32_t left = kAtOnce;
    std::int64_t filled_us = 0;
    [[nodiscard]] bool take(std::int64_t now_us);
  };
  std::map<std::string, RefusalBudget, std::less<>> refusal_budgets_;
  std::map<Digest, ByteVector> refusals_;  ///< statements of this node, for who asks again
  std::vector<Event> events_;
};

}  // namespace cosigner::worker
