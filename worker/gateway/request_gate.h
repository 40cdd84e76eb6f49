#pragma once
// The gateway's checks of a request, as a pure state machine: size and shape, initiator and
// signatures, policy, clock, rate, replay. What passes goes on as the original bytes; the worker
// checks it all again, so a captured gateway authorises nothing.
//
// What a flood costs: an envelope that fails before the signature costs microseconds, one with a
// bad signature one Ed25519 verification (42 µs, libsodium). Refusals are answered (signed,
// published) at a bounded rate only; beyond it they are dropped and counted. To answer one that
// cannot be read takes the hash of all of it (2 MiB: 1.2 ms), so that is made only then.
//
// Nobody can use up an initiator's rate but itself. It is charged for a valid request seen for the
// first time; whoever has seen one on its way (the broker, every other node) can repeat it but not
// make another. A request that this gate has passed before is charged to its own session, which is
// enough for a client that asks again, and all repeats of an initiator to a rate of their own:
// beyond either it is dropped unanswered. Wake-ups are charged to the peer that forwards them.
// (The gate remembers 65,536 requests: who holds more of them can repeat the oldest as new.)

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "ipc/answer.h"
#include "ipc/request.h"

namespace cosigner::worker {

/// `rate` tokens a second, bursts of as many as one second's worth.
class TokenBucket {
 public:
  explicit TokenBucket(double rate) : rate_(rate), tokens_(rate) {}
  [[nodiscard]] bool take(std::int64_t now_ms);
  /// Milliseconds until a token is there again.
  [[nodiscard]] std::uint32_t wait_ms() const;

 private:
  double rate_;
  double tokens_;
  std::int64_t last_ms_ = 0;
};

struct GateCounters {
  std::uint64_t passed = 0;
  std::uint64_t refused = 0;                    ///< answered with an error
  std::uint64_t dropped_refusals = 0;           ///< not even answered: the refusal rate was used up
  std::uint64_t dropped_repeats = 0;            ///< one request again and again
  std::uint64_t dropped_strangers = 0;          ///< "forwarded" by no peer of this node
  std::map<ErrorCode, std::uint64_t> by_error;  ///< both kinds of refusals

  [[nodiscard]] std::uint64_t dropped() const {
    return dropped_refusals + dropped_repeats + dropped_strangers;
  }
};

class RequestGate {
 public:
  /// `peers`: the other nodes, whose gateways may forward requests.
  RequestGate(std::string cluster, std::vector<std::string> peers,
              std::vector<ipc::Initiator> initiators, ipc::Settings settings);

  struct Passed {
    Request request;
    SessionId session;
  };
  /// The answer to publish, not yet signed.
  struct Refused {
    RequestAnswer answer;
  };
  struct Dropped {};
  using Verdict = std::variant<Passed, Refused, Dropped>;

  /// `woken_by`: the node whose gateway forwarded it, or empty for a client. A peer's wake-ups are
  /// limited like an initiator's requests, and apart from them; who is no peer is dropped.
  [[nodiscard]] Verdict check(std::int64_t now_ms, std::uint64_t wall_ms, std::string_view woken_by,
                              ByteView envelope);

  /// The configuration was read again. What was seen stays seen; rates begin anew.
  void reconfigure(std::vector<std::string> peers, std::vector<ipc::Initiator> initiators,
                   const ipc::Settings& settings);

  [[nodiscard]] const GateCounters& counters() const { return counters_; }
  /// Rates that are kept: at most two of each initiator and one of each peer.
  [[nodiscard]] std::size_t rates() const { return rates_.size(); }
  /// A request that passed here and was refused for what the gateway itself cannot do.
  void count_refusal(ErrorCode code) {
    ++counters_.refused;
    ++counters_.by_error[code];
  }
  /// What was counted since the last call; from here on it is counted anew.
  [[nodiscard]] GateCounters take_counters() { return std::exchange(counters_, {}); }

 private:
  struct Seen;
  /// The passed request of this initiator and id; nothing if there is none.
  [[nodiscard]] Seen* find_seen(const ParsedRequest& parsed);
  void remember(const ParsedRequest& parsed);
  /// Counts a refusal. False: drop it, and spend nothing more on it.
  [[nodiscard]] bool may_answer_refusal(std::int64_t now_ms, ErrorCode code);

  /// Of one initiator's request id; bounded, oldest out first. The store knows those that came
  /// to a success: this one saves the trip.
  static constexpr std::size_t kReplayEntries = 1U << 16;
  struct ReplayKey {
    Ed25519PublicKey initiator;
    RequestId id;
    friend bool operator==(const ReplayKey&, const ReplayKey&) = default;
  };
  struct ReplayHash {
    std::size_t operator()(const ReplayKey& key) const {
      return BytesHash()(key.initiator) * 31 + BytesHash()(key.id);
    }
  };

  /// A client asks again after its delivery window, or from several programs at once.
  static constexpr double kRepeatsPerSecond = 5;
  struct Seen {
    SessionId session;
    TokenBucket repeats{kRepeatsPerSecond};
  };

  std::string cluster_;
  std::vector<std::string> peers_;
  InitiatorTable initiators_;
  ipc::Settings settings_;
  TokenBucket refusals_;
  enum class Payer : std::uint8_t { kInitiator, kRepeats, kPeer };
  std::map<std::pair<Payer, std::string>, TokenBucket> rates_;
  std::unordered_map<ReplayKey, Seen, ReplayHash> seen_;
  std::deque<ReplayKey> seen_order_;
  GateCounters counters_;
};

}  // namespace cosigner::worker
