#pragma once
// The gateway's checks of a request, as a pure state machine: size and shape, initiator and
// signatures, policy, clock, rate, replay. What passes goes on as the original bytes; the worker
// checks it all again, so a captured gateway authorises nothing.
//
// What a flood costs: an envelope that fails before the signature costs microseconds, one with a
// bad signature one Ed25519 verification (42 µs, libsodium). Refusals are answered (signed,
// published) at a bounded rate only; beyond it they are dropped and counted. The rate limit of an
// initiator counts valid requests only: nobody can use up another's.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

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
  std::uint64_t refused = 0;           ///< answered with an error
  std::uint64_t dropped_refusals = 0;  ///< not even answered: the refusal rate was used up
};

class RequestGate {
 public:
  RequestGate(std::string cluster, std::vector<ipc::Initiator> initiators, ipc::Settings settings);

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

  /// `woken_by`: the peer whose gateway forwarded it, or empty for a client. A peer's wake-ups are
  /// limited like an initiator's requests, and apart from them.
  [[nodiscard]] Verdict check(std::int64_t now_ms, std::uint64_t wall_ms, std::string_view woken_by,
                              ByteView envelope);

  [[nodiscard]] const GateCounters& counters() const { return counters_; }

 private:
  [[nodiscard]] Expected<void> check_replay(const ParsedRequest& parsed);
  [[nodiscard]] Verdict refuse(std::int64_t now_ms, RequestAnswer answer);

  /// Of one initiator's request id; bounded, oldest out first. The store knows them all: this one
  /// saves the trip.
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

  std::string cluster_;
  InitiatorTable initiators_;
  ipc::Settings settings_;
  TokenBucket refusals_;
  std::unordered_map<std::string, TokenBucket> rates_;  ///< by initiator name, or "peer <node>"
  std::unordered_map<ReplayKey, SessionId, ReplayHash> seen_;
  std::deque<ReplayKey> seen_order_;
  GateCounters counters_;
};

}  // namespace cosigner::worker
