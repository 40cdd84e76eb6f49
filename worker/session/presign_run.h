#pragma once
// One run that makes one presignature: a fixed set, one try, no failover. What goes wrong costs
// this run; its owner may begin another.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "worker/session/check_notices.h"
#include "worker/session/environment.h"
#include "worker/session/peers.h"
#include "worker/session/presign_messages.h"
#include "worker/session/presignature_pool.h"

namespace cosigner::worker {

class PresignRun {
 public:
  static constexpr std::int64_t kTimeoutUs = 5'000'000;  ///< without any progress

  struct Setup {
    SessionId id;
    std::string key;
    std::uint64_t epoch = 0;
    Digest record;
    SigningSet signers;
    std::string owner;
    std::uint64_t number = 0;
    SessionId order;  ///< zero: refill

    [[nodiscard]] bool ordered() const { return order != SessionId{}; }
  };
  enum class State {
    kMaking,
    kHeld,    ///< a member has it and has told the owner
    kReady,   ///< the owner has it, and everyone has said so
    kFailed,  ///< a check failed or nothing came; the others are to be told
  };

  /// What the protocol of a run is bound to: everything that its members agree on before it.
  [[nodiscard]] static Digest binding_of(std::string_view cluster, std::string_view user,
                                         const Setup& setup,
                                         const std::map<ParticipantIndex, ByteVector>& hellos);

  PresignRun(Environment& environment, Peers& peers, Setup setup,
             std::unique_ptr<dkls23::PresignProtocol> protocol, std::unique_ptr<PairChecks> checks);

  [[nodiscard]] const Setup& setup() const { return setup_; }
  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] bool owned() const { return setup_.owner == environment_.node; }
  [[nodiscard]] std::int64_t timer_us() const { return timer_us_; }
  /// Once kFailed.
  [[nodiscard]] const std::optional<Abort>& failure() const { return failure_; }
  /// Once kHeld or kReady.
  [[nodiscard]] dkls23::Presignature take() { return *std::exchange(presignature_, std::nullopt); }

  /// The owner asks the others.
  void propose(std::uint64_t floor);
  /// A member takes part.
  void accept(ByteVector owner_payload);

  void on_accept(const std::string& from, PresignAccept message);
  void on_begin(const std::string& from, const PresignBegin& message);
  void on_round(const std::string& from, PresignRound message);
  void on_ready(const std::string& from);
  /// Nobody's fault.
  void give_up(std::string reason) { fail(recoverable(std::move(reason)).error()); }

 private:
  [[nodiscard]] const Signer* member(std::string_view node) const;
  template <class Message>
  void send(const std::string& node, const Message& message);
  template <class Message>
  void send_all(const Message& message);
  void start();
  void step(Result<Messages> result);
  void feed(ParticipantIndex from, const PresignRound& message);
  void settle();
  void fail(Abort abort);
  void progress() { timer_us_ = environment_.now_us() + kTimeoutUs; }

  Environment& environment_;
  Peers& peers_;
  Setup setup_;
  std::unique_ptr<PairChecks> checks_;  ///< outlives the protocol
  std::unique_ptr<dkls23::PresignProtocol> protocol_;
  State state_ = State::kMaking;
  bool started_ = false;
  std::int64_t timer_us_ = 0;
  std::map<ParticipantIndex, ByteVector> hellos_;
  struct EarlyRound {
    ParticipantIndex from = 0;
    PresignRound round;
    EarlyBytes::Held held;
  };
  std::vector<EarlyRound> early_;  ///< before all hellos came
  std::set<ParticipantIndex> ready_;
  std::optional<dkls23::Presignature> presignature_;
  std::optional<Abort> failure_;
};

}  // namespace cosigner::worker
