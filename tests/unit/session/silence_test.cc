// The burn discipline where nobody signs (dkls23.md §10): a peer is caught while presignatures are
// made, or in a renewal of OT state. Nothing leaves the worker before its store has said that the
// ban is there; then everyone concerned hears one message that does not say which check failed.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "tests/support/eavesdropper.h"
#include "tests/support/ecdsa_cluster.h"
#include "tests/support/impostor.h"
#include "tests/support/request_answers.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// A stalled store takes from half of this to one and a half of it: longer than a peer repeats a
/// packet (8 s), than a presigning run waits (5 s), than an attempt does.
constexpr std::int64_t kStalledUs = 20 * kSecond;
/// A lie comes in a packet of its own, so much later: by then everything else of its round is
/// there.
constexpr std::int64_t kLieUs = 5 * kMs;

const std::vector<std::string> kAllThree{"n1", "n2", "n3"};

/// What this node orders of its store in the turn that is under way takes long.
void stall_store(EcdsaCluster& cluster) {
  cluster.store_us = kStalledUs;
  cluster.after(0, [&cluster] { cluster.store_us = kMs; });
}

/// n1 catches n3, and its store is slow to take the ban. An engine's effects are taken after each
/// input, so whatever n1 does while a check of its is open it does after that check has failed.
class StalledBan {
 public:
  using Filter = std::function<bool(const std::string&, const std::string&, ByteVector&)>;

  /// `cheat` sees every packet before n1's are listened to.
  explicit StalledBan(EcdsaCluster& cluster, Filter cheat = {})
      : cluster_(cluster), cheat_(std::move(cheat)), ear_(cluster, "n1") {
    cluster.filter = [this](const std::string& from, const std::string& to, ByteVector& packet) {
      CHECK_FALSE((from == "n1" && silent()));
      return (!cheat_ || cheat_(from, to, packet)) && ear_(from, to, packet);
    };
    cluster.watch = [this](EngineCluster::Node& node, const Effect& effect) {
      if (node.name == "n1") {
        on_effect(effect);
      }
    };
    cluster.node("n1").on_checking = [this](const ipc::Checking& check) {
      CHECK_FALSE((ordered_ > 0 && check.peer == "n3"));
    };
  }
  ~StalledBan() {
    cluster_.filter = nullptr;
    cluster_.watch = nullptr;
    cluster_.node("n1").on_checking = nullptr;
  }
  StalledBan(const StalledBan&) = delete;
  StalledBan& operator=(const StalledBan&) = delete;

  /// Runs until the check has failed, through the silence, and on until all is said. `meanwhile`
  /// happens in the silence.
  void happens(const std::function<void()>& meanwhile = {}) {
    REQUIRE(cluster_.run(20 * kSecond, [this] { return ordered_ > 0; }));
    REQUIRE(silent());
    if (meanwhile) {
      meanwhile();
    }
    cluster_.run(kStalledUs / 2 - kMs);
    REQUIRE(silent());
    SessionEngine& engine = *cluster_.node("n1").engine;
    CHECK_FALSE(engine.idle());
    CHECK(engine.counters().burns >= 1);  // and of that nothing is told yet
    CHECK_FALSE(engine.counted());
    CHECK_FALSE(engine.take_metrics().has_value());
    CHECK(ear_.heard.empty());
    REQUIRE(cluster_.run(2 * kStalledUs, [this] { return !silent(); }));
    CHECK(cluster_.banned("n1", "n3"));
    cluster_.run(5 * kSecond);
    CHECK(ordered_ == 1);
    CHECK_FALSE(cluster_.stored_pair("n1", 3));
    const auto told = engine.take_metrics();
    REQUIRE(told.has_value());
    CHECK(std::ranges::count(told->peers, "n3", &ipc::PeerTally::node) == 1);
    CHECK(told->events.burns >= 1);
    CHECK(told->events.misbehaviours >= 1);
  }

  /// What n1 has said since the check failed: to whom, what.
  [[nodiscard]] const std::vector<std::pair<std::string, ByteVector>>& said() const {
    return ear_.heard;
  }

 private:
  /// From the failed check until the ban is on the disk.
  [[nodiscard]] bool silent() { return !cluster_.node("n1").open_checks.empty(); }

  void on_effect(const Effect& effect) {
    if (const auto* burn = std::get_if<ipc::Burn>(&effect); burn != nullptr && burn->failed) {
      CHECK(burn->key == "k");
      CHECK(burn->peer == "n3");
      ++ordered_;
      ear_.heard.clear();
      stall_store(cluster_);
    }
    if (silent()) {
      CHECK_FALSE(std::holds_alternative<ipc::Answer>(effect));
      CHECK_FALSE(std::holds_alternative<ipc::Wake>(effect));
      CHECK_FALSE(std::holds_alternative<ipc::PresignatureStock>(effect));
    }
  }

  EcdsaCluster& cluster_;
  Filter cheat_;
  Eavesdropper ear_;
  int ordered_ = 0;
};

/// n3 spoils one message to n1, of that round and of a presigning run that it owns or does not own.
class SpoiltPresigning {
 public:
  SpoiltPresigning(EcdsaCluster& cluster, std::uint8_t round, bool own)
      : cluster_(cluster),
        round_(round),
        own_(own),
        agent_(cluster, "n3", [this](const std::string& to, std::vector<ByteVector>& messages) {
          for (const ByteVector& message : messages) {
            if (is<PresignPropose>(message)) {
              proposed_.insert(decoded<PresignPropose>(message).run);
            }
          }
          std::erase_if(messages,
                        [&](const ByteVector& message) { return to == "n1" && spoils(message); });
        }) {}
  SpoiltPresigning(const SpoiltPresigning&) = delete;
  SpoiltPresigning& operator=(const SpoiltPresigning&) = delete;

  /// n1 and n3 must know each other by now.
  void begin() { impostor_.emplace(cluster_, "n3", "n1"); }
  /// n3 says that to n1, now, alone.
  void say(const ByteVector& message) { impostor_->say({message}); }
  bool operator()(const std::string& from, const std::string& to, ByteVector& packet) {
    return agent_(from, to, packet);
  }

  std::optional<SessionId> run;  ///< the one whose message was spoilt

 private:
  /// True: the message does not go with this packet; its spoilt twin follows alone.
  bool spoils(const ByteVector& message) {
    if (!impostor_ || run || !is<PresignRound>(message)) {
      return false;
    }
    const auto said = decoded<PresignRound>(message);
    if (said.round != round_ || proposed_.contains(said.run) != own_) {
      return false;
    }
    run = said.run;
    ByteVector spoilt = message;
    spoilt.back() ^= 1U;  // of t, or of the hash over μ: well-formed, and false
    cluster_.after(kLieUs, [this, spoilt] { say(spoilt); });
    return true;
  }

  EcdsaCluster& cluster_;
  std::uint8_t round_;
  bool own_;
  std::set<SessionId> proposed_;  ///< by n3
  std::optional<Impostor> impostor_;
  DoubleAgent agent_;
};

/// Everyone has met n3 and n1, and the key is in use.
void all_meet(EcdsaCluster& cluster) {
  REQUIRE(cluster.signs(kAllThree, "n1"));
  REQUIRE(cluster.signs(kAllThree, "n3"));
}

ByteVector presign_envelope(EcdsaCluster& cluster, std::uint32_t count) {
  Request wanted = cluster.sign_request("k", {});
  wanted.operation = Operation::kPresign;
  wanted.scheme = Scheme::kEcdsaSecp256k1;
  wanted.count = count;
  return cluster.sign(wanted).envelope;
}

/// Runs a protocol of renewals, but answers other points than it was sent: what it says is
/// well-formed and authentic, and its peer's PPRF does not check out. That is the one check of a
/// renewal that touches a secret of OT (class C); whatever else can be wrong there is found in
/// lengths, encodings, echoes and ids (class A).
class AnswersOtherPoints final : public Protocol {
 public:
  explicit AnswersOtherPoints(std::unique_ptr<Protocol> inner) : inner_(std::move(inner)) {}

  const ByteVector& hello() const override { return inner_->hello(); }
  Result<Messages> start(std::span<const SetMember> set, const Digest& binding) override {
    return inner_->start(set, binding);
  }
  Result<Messages> receive(ParticipantIndex from, std::uint8_t round, ByteView payload) override {
    ByteVector taken = to_vector(payload);
    // An echo, then two points for each base OT: every pair becomes the next one's.
    constexpr std::size_t kPair = 66;
    if (round == 1 && taken.size() > Digest::kSize + kPair) {
      const auto first = taken.begin() + static_cast<std::ptrdiff_t>(Digest::kSize);
      std::rotate(first, first + kPair, taken.end());
    }
    return inner_->receive(from, round, taken);
  }
  std::optional<Outcome> take_outcome() override { return inner_->take_outcome(); }
  std::optional<Abort> take_failure() override { return inner_->take_failure(); }
  void observe_checks(CheckObserver* observer) override { inner_->observe_checks(observer); }
  std::size_t payload_limit() const override { return inner_->payload_limit(); }

 private:
  std::unique_ptr<Protocol> inner_;
};

class CheatsInRenewals final : public ProtocolFactory {
 public:
  Result<std::unique_ptr<Protocol>> renewal(dkls23::RenewalParameters parameters,
                                            Random& random) override {
    auto made = ProtocolFactory::renewal(std::move(parameters), random);
    if (!made) {
      return made;
    }
    return std::make_unique<AnswersOtherPoints>(*std::move(made));
  }
};

}  // namespace

TEST_CASE("a burn in presigning: nothing leaves before the ban is durable, then one message",
          "[burn][presign]") {
  // Both messages that meet a check; made for a client or for the pool; in a run that the cheat
  // proposed or another did; alone with the cheat or with a third node.
  const auto round = GENERATE(as<std::uint8_t>{}, 1, 2);
  const auto for_client = GENERATE(false, true);
  const auto own = GENERATE(false, true);
  const auto threshold = GENERATE(as<std::uint16_t>{}, 2, 3);
  CAPTURE(round, for_client, own, threshold);
  EcdsaCluster cluster(70, 3, threshold);
  cluster.settings.presignature_pool = for_client ? 0 : 4;
  SpoiltPresigning spoilt(cluster, round, own);
  StalledBan ban(cluster, std::ref(spoilt));
  all_meet(cluster);
  spoilt.begin();
  std::optional<std::uint64_t> work;
  if (for_client) {
    // Who proposes the run that is spoilt hears of the request last: the others take part at once.
    // A request is looked up in the store before it is taken up, 2 ms at most.
    const ByteVector envelope = presign_envelope(cluster, 150);
    for (const std::size_t node : own ? std::array{0U, 1U, 2U} : std::array{2U, 1U, 0U}) {
      const std::uint64_t asked = cluster.ask(cluster.node(node), envelope);
      work = node == 0 ? asked : work;
      cluster.run(3 * kMs);
    }
  }
  ban.happens();
  REQUIRE(spoilt.run);
  std::map<std::string, int> told;
  for (const auto& [to, message] : ban.said()) {
    if (!is<PresignEnd>(message)) {
      CHECK(to != "n3");
      continue;
    }
    const auto end = decoded<PresignEnd>(message);
    if (end.run == *spoilt.run) {
      ++told[to];
      CHECK(end.reason == static_cast<std::uint8_t>(PresignEnd::Reason::kFailed));
    } else if (to == "n3") {
      // Of what n3 has proposed since.
      CHECK(end.reason == static_cast<std::uint8_t>(PresignEnd::Reason::kStranger));
    }
  }
  if (threshold == 2) {
    CHECK(told == std::map<std::string, int>{{"n3", 1}});
  } else {
    CHECK(told == std::map<std::string, int>{{"n2", 1}, {"n3", 1}});
    CHECK(cluster.node("n1").engine->presignatures("k").held == 0);
  }
  if (work) {
    CHECK(cluster.work(*work).answers.size() == 1);
  }
  CHECK(cluster.counters(0).burns == 1);
  CHECK(cluster.bans() == 1);
  if (threshold == 2) {
    CHECK(cluster.signs({"n1", "n2"}));
  }
}

TEST_CASE("a burn in presigning cuts a signature with that peer, in silence", "[burn][presign]") {
  EcdsaCluster cluster(71, 3, 2);
  SpoiltPresigning spoilt(cluster, 1, true);
  // n1 waits for n3's first message of the signature while presignatures are made.
  std::optional<ByteVector> kept;
  bool keeps = false;
  DoubleAgent late(cluster, "n3", [&](const std::string& to, std::vector<ByteVector>& messages) {
    std::erase_if(messages, [&](const ByteVector& message) {
      if (!keeps || to != "n1" || !is<Round>(message)) {
        return false;
      }
      kept = kept ? kept : message;
      return true;
    });
  });
  StalledBan ban(cluster, [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return late(from, to, packet) && spoilt(from, to, packet);
  });
  all_meet(cluster);
  cluster.away("n2", true);
  keeps = true;
  const SignedRequest request = cluster.request("n1");
  const std::uint64_t signature = cluster.ask(cluster.node("n1"), request.envelope);
  cluster.ask(cluster.node("n3"), request.envelope);
  REQUIRE(cluster.run(50 * kMs, [&] { return kept.has_value(); }));
  spoilt.begin();
  const ByteVector envelope = presign_envelope(cluster, 150);
  const std::uint64_t presigning = cluster.ask(cluster.node("n1"), envelope);
  cluster.run(3 * kMs);
  cluster.ask(cluster.node("n3"), envelope);
  ban.happens([&] {
    CHECK(cluster.work(signature).answers.empty());
    spoilt.say(*kept);  // too late: nothing is checked, and nothing answered
  });
  int given_up = 0;
  int failed = 0;
  for (const auto& [to, message] : ban.said()) {
    if (is<AttemptAbort>(message)) {
      const auto abort = decoded<AttemptAbort>(message);
      CHECK(abort.session == request.session);
      CHECK(abort.culprit.empty());
      CHECK(abort.reason == "given up");
      ++given_up;
    } else if (is<PresignEnd>(message)) {
      const auto end = decoded<PresignEnd>(message);
      failed += end.reason == static_cast<std::uint8_t>(PresignEnd::Reason::kFailed) ? 1 : 0;
      CHECK((end.run == *spoilt.run) ==
            (end.reason == static_cast<std::uint8_t>(PresignEnd::Reason::kFailed)));
    } else {
      // To hellos that n3 has sent since, for the same request.
      REQUIRE(is<Decline>(message));
      CHECK(decoded<Decline>(message).error == "banned");
    }
    CHECK(to == "n3");
  }
  CHECK(given_up == 1);
  CHECK(failed == 1);
  REQUIRE(cluster.work(signature).answers.size() == 1);
  REQUIRE(error_of(cluster.answer(signature)) != nullptr);
  CHECK(error_of(cluster.answer(signature))->code == ErrorCode::kBanned);
  CHECK(cluster.work(presigning).answers.size() == 1);
  cluster.away("n2", false);
  CHECK(cluster.signs({"n1", "n2"}));
}

TEST_CASE("a burn in a renewal: nothing leaves before the ban is durable, then one message",
          "[burn][renewal]") {
  const auto banned_before = GENERATE(false, true);
  CAPTURE(banned_before);
  EcdsaCluster cluster(72, 3, 2);
  cluster.node("n3").protocols = std::make_unique<CheatsInRenewals>();  // before its worker starts
  if (banned_before) {
    Cheat cheat(cluster, "n3", "n1", 1);
    cluster.filter = std::ref(cheat);
    for (int i = 0; i < 20 && !cluster.banned("n1", "n3"); ++i) {
      REQUIRE(cluster.signs({"n1", "n2"}, i % 2 == 0 ? "n1" : "n3"));
    }
    cluster.filter = nullptr;
    REQUIRE(cluster.banned("n1", "n3"));
    cluster.run(kSecond);
  } else {
    all_meet(cluster);
  }
  (void)cluster.node("n1").engine->take_metrics();
  StalledBan ban(cluster);
  cluster.order_renewal(cluster.node("n1"), "k", "n3");
  ban.happens();
  // Before it comes what the same turn had queued before the check: n1's own message of the round.
  REQUIRE(ban.said().size() == 2);
  CHECK(is<Round>(ban.said().front().second));
  CHECK(ban.said().front().first == "n3");
  const auto& [to, message] = ban.said().back();
  CHECK(to == "n3");
  REQUIRE(is<AttemptAbort>(message));
  CHECK(decoded<AttemptAbort>(message).culprit == "n3");
  CHECK(decoded<AttemptAbort>(message).reason == "a check failed");
  CHECK(cluster.counters(0).renewals == 0);
  CHECK(cluster.bans() == 1);
  CHECK(cluster.signs(kAllThree));
}

TEST_CASE("a node claims new OT state only once it is durable", "[renewal]") {
  EcdsaCluster cluster(73, 3, 2);
  all_meet(cluster);
  const auto old = cluster.stored_pair("n1", 3);
  REQUIRE(old);
  Eavesdropper ear(cluster, "n1");
  bool ordered = false;
  cluster.filter = std::ref(ear);
  cluster.watch = [&](EngineCluster::Node& node, const Effect& effect) {
    if (node.name != "n1") {
      return;
    }
    if (std::holds_alternative<ipc::StoreRenewed>(effect)) {
      CHECK_FALSE(ordered);
      ordered = true;
      ear.heard.clear();
      stall_store(cluster);
    }
    CHECK((!std::holds_alternative<ipc::LiftBan>(effect) || cluster.stored_pair("n1", 3) != old));
  };
  const auto claims = [&](const ByteVector& message) {
    return is<PairNotice>(message) && decoded<PairNotice>(message).holds == 1;
  };
  cluster.order_renewal(cluster.node("n1"), "k", "n3");
  REQUIRE(cluster.run(10 * kSecond, [&] { return ordered; }));
  cluster.run(kStalledUs / 2 - kMs);
  REQUIRE(cluster.stored_pair("n1", 3) == old);
  CHECK(cluster.stored_pair("n3", 1) != old);  // n3's store is not slow, and it has said so
  for (const auto& [to, message] : ear.heard) {
    CHECK_FALSE(claims(message));
  }
  REQUIRE(cluster.run(3 * kStalledUs, [&] { return cluster.renewed("n1", 1, "n3", 3); }));
  const auto claim = std::ranges::find_if(
      ear.heard, claims, [](const auto& said) -> const ByteVector& { return said.second; });
  REQUIRE(claim != ear.heard.end());
  CHECK(claim->first == "n3");
  CHECK(decoded<PairNotice>(claim->second).id == cluster.stored_pair("n1", 3));
  CHECK(cluster.counters(0).renewals == 1);
}
