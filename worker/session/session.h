#pragma once
// One session: one request, one key, one or more attempts at its protocol.
//
//   waiting ──(its key is there)──▶ rendezvous ──(start)──▶ running ──▶ finished
//                                     ▲   attempt k+1    │       └(keygen)▶ committing ─▶ finished
//                                     └──────────────────┘                      │
//                                     ▲         the record was refused          │
//                                     └─────────────────────────────────────────┘
// An attempt ends by its timer, by a failed check, by the word of its coordinator or of a member of
// its set, or because a member is gone. Nobody goes back: what belongs to an earlier attempt is
// dropped. Every attempt has a protocol object, and so nonces, of its own; the first valid start
// uses them up.

#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "ipc/answer.h"
#include "ipc/request.h"
#include "worker/session/check_notices.h"
#include "worker/session/commit.h"
#include "worker/session/environment.h"
#include "worker/session/key_ring.h"
#include "worker/session/pairs.h"
#include "worker/session/peers.h"
#include "worker/session/presigner.h"
#include "worker/session/protocol_factory.h"
#include "worker/session/rendezvous.h"
#include "worker/session/session_messages.h"
#include "worker/session/signing_set.h"

namespace cosigner::worker {

/// A pair's new OT state: the key's secret as the session knew it, with that state in it.
struct RenewedPair {
  SecretVector secret;
};
using SessionOutcome = std::variant<Error, SignResult, KeygenResult, PresignResult, RenewedPair>;

class Session {
 public:
  /// Why nodes do not take part, by node.
  using Declines = std::map<std::string, Error, std::less<>>;
  /// Parts that outlive every session.
  struct Parts {
    Environment& environment;
    Peers& peers;
    KeyRing& keys;
    const Commits& commits;
    Pairs& pairs;
    ProtocolFactory& protocols;
    CheckNotices& checks;
    const Ed25519SecretKey& signing_key;
    Presigner& presigner;
  };
  /// A peer that has not said hello by then is woken.
  static constexpr std::int64_t kWakeAfterUs = 30'000;
  /// A coordinator with presignatures in stock, but none for who has said hello so far, waits this
  /// long for the others: a signature without one takes longer.
  static constexpr std::int64_t kPatienceUs = 2'000;
  enum class Phase { kWaiting, kRendezvous, kRunning, kCommitting, kFinished };

  /// A session whose participants and threshold are those of the request (keygen).
  Session(Parts parts, Request request, const SessionId& id, ByteVector envelope);

  /// A session of this node and `peer` alone, by no client's request: renews their OT state.
  Session(Parts parts, const KeyEpoch& key, const std::string& peer, const SessionId& id);

  [[nodiscard]] const SessionId& id() const { return id_; }
  /// With whom, if this session renews a pair.
  [[nodiscard]] const std::optional<std::string>& renews() const { return renews_; }
  [[nodiscard]] const Request& request() const { return request_; }
  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] std::uint16_t attempt() const { return attempt_.number; }
  [[nodiscard]] bool is_participant(std::string_view node) const { return index_of(node) != 0; }

  /// Begins the first attempt; for sign, once its key is active (until then it stays waiting).
  void begin();
  /// Takes its place at a key generation's commit that an earlier worker or run has begun.
  void resume_commit();
  /// `from` is the node the broker names; the hello's certificate is known to be its own.
  void on_hello(const std::string& from, SignedHello hello, Hello decoded);
  /// Every hello's certificate has been shown to Peers::learn().
  void on_start(const std::string& from, Start start);
  void on_round(const std::string& from, Round round);
  void on_result(const std::string& from, const SignatureResult& result);
  void on_abort(const std::string& from, const AttemptAbort& abort);
  void on_advance(const std::string& from, const Advance& advance);
  void on_decline(const std::string& from, const Decline& decline);
  void on_no_responders(const std::string& node);
  void on_absent(const std::string& node);
  /// The worker of `node` is another one now, or asked where we are.
  void on_new_generation(const std::string& node);
  void on_greeting(const std::string& node);
  void on_undelivered(const std::string& node);
  /// The pair of this key with `node` was burnt: whatever may hold its OT state ends.
  void on_burnt(const std::string& node);
  void on_timer();
  [[nodiscard]] std::int64_t next_deadline() const;
  void fail(Error error);
  /// For reasons from outside; says whether a share of this session has left the node.
  void fail(ErrorCode code, std::string message);

  /// The finished key generation, once: to be committed by the caller.
  [[nodiscard]] std::optional<KeyOutcome> take_key() { return std::exchange(key_, std::nullopt); }
  void committed(KeygenResult result) { finish(std::move(result)); }
  /// A participant refused the record: try again with the next attempt.
  void commit_refused(const std::string& by);

  [[nodiscard]] bool finished() const { return phase_ == Phase::kFinished; }
  [[nodiscard]] SessionOutcome take_outcome() { return std::move(*outcome_); }
  [[nodiscard]] const std::vector<Participant>& participants() const { return participants_; }

 private:
  struct HelloSlot {
    SignedHello hello;
    Hello decoded;
    bool verified = false;
    std::uint64_t arrival = 0;
  };
  struct EarlyRound {
    std::string from;
    Round round;
    EarlyBytes::Held held;
  };
  struct Attempt {
    std::uint16_t number = 0;
    bool coordinating = false;
    std::unique_ptr<PairChecks> checks;  ///< outlives the protocol
    std::unique_ptr<Protocol> protocol;
    SignedHello hello;
    Hello own;                     ///< the same, decoded
    std::vector<Participant> set;  ///< empty until started
    Digest start_digest;           ///< once started
    std::pair<std::uint64_t, std::uint64_t>
        coordinator_run;     ///< generation and run of the coordinator's hello in that start
    Bytes<32> nonce;         ///< of our hello
    Digest presignature_id;  ///< if presigned
    std::vector<EarlyRound> early;
    std::set<std::string, std::less<>> contributed;
    std::int64_t entered_us = 0;
    std::int64_t timer_us = 0;
    std::int64_t resend_us = INT64_MAX;
    std::int64_t resend_interval_us = 0;
    std::int64_t quick_us = 0;
    std::int64_t wake_us = INT64_MAX;
    std::int64_t patience_us = INT64_MAX;
    bool no_responders = false;
    bool presigned = false;          ///< started with a presignature
    ParticipantIndex assembler = 0;  ///< once started
    [[nodiscard]] bool started() const { return !set.empty(); }
    [[nodiscard]] Bytes<8> start_mark() const {
      return *Bytes<8>::from(start_digest.view().first(8));
    }
  };

  // session.cc
  [[nodiscard]] bool set_up();
  void begin_commit();
  [[nodiscard]] bool keygen() const { return request_.operation == Operation::kKeygen; }
  /// Every participant must take part.
  [[nodiscard]] bool everyone() const { return keygen() || renews_.has_value(); }
  [[nodiscard]] ParticipantIndex index_of(std::string_view node) const;
  [[nodiscard]] const std::string* node_of(ParticipantIndex index) const;
  [[nodiscard]] std::size_t needed() const;  ///< members of a set, this node included
  [[nodiscard]] bool active() const {
    return phase_ == Phase::kRendezvous || phase_ == Phase::kRunning;
  }
  [[nodiscard]] bool may_coordinate(const std::string& node);
  [[nodiscard]] std::int64_t attempt_duration_us() const;
  void enter(std::uint16_t number);
  /// On others' word: costs none of this node's own attempts.
  void skip_to(std::uint16_t number);
  /// One more than the number of this session's last attempt.
  [[nodiscard]] std::uint16_t end_of_attempts() const;
  void end_attempt(const std::string& reason, const std::string& culprit = {});
  void announce_end(const std::string& reason, const std::string& culprit);
  void attempt_timed_out();
  void finish(SessionOutcome outcome);

  // session_protocol.cc
  [[nodiscard]] AttemptScope scope() const;
  [[nodiscard]] Result<std::unique_ptr<Protocol>> make_protocol();
  [[nodiscard]] Result<SignParameters> sign_parameters(ParticipantIndex assembler);

  // session_errors.cc
  /// Why no attempt can succeed any more; none while one may.
  [[nodiscard]] std::optional<Error> impossible();
  /// Where too few are left: what those have said who do not take part. None if it is rather the
  /// absent ones (`everyone_is_here`: there are none) who are missing.
  [[nodiscard]] std::optional<Error> declined_by_too_many(bool everyone_is_here) const;
  /// Out of time, or of attempts.
  [[nodiscard]] Error final_error() const;

  // session_news.cc
  [[nodiscard]] bool in_set(std::string_view node) const;
  void exclude(const std::string& node, const std::string& reason);

  // session_set.cc: who may sign with whom
  /// By place in participants_, as far as this node knows.
  [[nodiscard]] Compatibility compatibility();
  [[nodiscard]] bool fits(const Hello& a, const Hello& b) const;
  /// There is no OT state, and all that have said hello are of this node's versions.
  [[nodiscard]] bool any_pair_fits() const;
  /// Its hello, if it has said one; this node's own as well.
  [[nodiscard]] const Hello* said_by(const std::string& node) const;
  /// No set of signers in which every pair fits, of those who may still take part.
  [[nodiscard]] std::optional<Error> no_set();
  /// Why these two are in no set together. `absence`: with those who are away there would be one.
  [[nodiscard]] Error apart(const std::string& a, const std::string& b, bool absence) const;
  [[nodiscard]] bool in_some_set(const std::string& node);
  void try_start();
  /// Starts with a presignature, if there is one for nodes that have said hello; true also if it is
  /// worth waiting for another hello.
  [[nodiscard]] bool try_presigned();
  /// After a hello that says which pairs may not sign: another coordinator, or the end.
  void give_up_if_apart();

  /// Better without it, while there are others: it failed an attempt, or is said to have.
  [[nodiscard]] bool doubtful(const std::string& node) const;
  [[nodiscard]] std::size_t failures_with(const std::string& node) const;

  // session_hello.cc
  void make_hello();
  void send_hello();
  void wake_missing();
  void wake_unacknowledged();
  bool wake(const std::string& node);  ///< false: not yet again
  [[nodiscard]] bool hello_fits(const std::string& node, const Hello& hello) const;
  [[nodiscard]] bool speaks_our_version(const Hello& hello) const;
  /// A node of which this session expects nothing more, and which is told so.
  void on_other_version(const std::string& from, const SignedHello& hello, const Hello& decoded);
  [[nodiscard]] bool verify_hello(const std::string& node, const SignedHello& hello,
                                  const Hello& decoded);
  [[nodiscard]] bool verify_slot(const std::string& node, HelloSlot& slot);
  void consider_jump(std::uint16_t number);

  // session_start.cc
  void coordinate(const std::vector<std::string>& chosen,
                  std::optional<dkls23::Presignature> presignature = std::nullopt);
  /// The hellos of a start, decoded, its own among them.
  struct StartSet {
    std::vector<Participant> members;
    std::vector<Hello> hellos;
  };
  struct StartRefused {
    std::string reason;
    std::string culprit;
    bool seen_here = true;  ///< its culprit is excluded: this node has the proof
  };
  [[nodiscard]] std::expected<StartSet, StartRefused> check_start(const std::string& from,
                                                                  const Start& start);
  void refuse_start(const StartRefused& refused);
  /// Another start of an attempt that has one.
  void on_second_start(const std::string& from, const Start& start);
  /// The attempt goes on with this presignature instead of the full protocol.
  [[nodiscard]] Result<void> use_presignature(dkls23::Presignature presignature);
  /// False: the attempt is over.
  [[nodiscard]] bool use_named(const Digest& presignature, const std::string& coordinator,
                               const std::vector<Hello>& hellos);
  void run_protocol(const std::vector<SignedHello>& hellos, const std::vector<Hello>& decoded);

  // session_rounds.cc
  void feed(const std::string& from, const Round& round);
  void step(Result<Messages> result);
  void dispatch(const Messages& messages);
  void count_failed_set();
  void protocol_failed(const Abort& abort);
  void signature_made(ByteVector signature);

  Parts parts_;
  Environment& environment_;
  Peers& peers_;
  Request request_;
  SessionId id_;
  ByteVector envelope_;
  Phase phase_ = Phase::kWaiting;
  std::uint64_t run_ = 0;
  std::int64_t began_us_ = 0;
  std::int64_t deadline_us_ = 0;

  // The key: from the request (keygen), or of the ring when the session begins (sign).
  std::vector<Participant> participants_;
  std::uint16_t threshold_ = 0;
  std::uint64_t epoch_ = 0;
  Digest record_digest_;
  ByteVector signing_key_;  ///< sign: what the signature must verify under, derived along the path
  CoordinatorOrder order_;
  ParticipantIndex self_ = 0;

  Attempt attempt_;
  std::map<std::string, HelloSlot, std::less<>> hellos_;  ///< the newest of each participant
  std::uint64_t arrivals_ = 0;
  std::map<std::string, std::string, std::less<>> misbehaved_;  ///< node → what it did, seen here
  std::map<std::string, std::string, std::less<>> reported_;    ///< node → what others say
  /// Attempts of this session that failed with this node in their set, and nobody to name.
  std::map<std::string, std::size_t, std::less<>> failed_with_;
  std::uint16_t skipped_ = 0;   ///< attempts, on others' word
  std::uint16_t advanced_ = 0;  ///< of these, because of Advance
  /// And because of this node's hellos (and t − 2 others').
  std::map<std::string, std::uint16_t, std::less<>> jumped_;
  Declines declined_;
  std::set<std::string, std::less<>> heard_;
  std::set<std::string, std::less<>> undelivered_;
  std::map<std::string, std::int64_t, std::less<>> woken_us_;
  bool executed_ = false;
  bool no_presignature_ = false;  ///< an attempt with one has failed: the full protocol from now on
  bool attempted_ = false;        ///< an attempt has begun
  std::optional<std::string> renews_;
  std::optional<KeyOutcome> key_;
  std::optional<SessionOutcome> outcome_;
};

}  // namespace cosigner::worker
