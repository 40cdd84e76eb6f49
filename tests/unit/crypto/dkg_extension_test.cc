// The DKG's extension point: what rides beside it arrives, in order, and its aborts pass through.
#include <catch2/catch.hpp>
#include <map>

#include "crypto/dkg/dkg.h"
#include "crypto/ed25519/group.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

using Log = std::vector<std::string>;

/// Sends "<round> from <self> to <peer>", expects the same, logs every call.
class Chatty final : public DkgExtension {
 public:
  explicit Chatty(Log& log) : log_(&log) {}
  std::size_t round1_limit() const override { return 100; }
  std::size_t round2_limit() const override { return 100; }
  Result<void> begin(const Digest&, ParticipantIndex self,
                     std::span<const ParticipantIndex> peers) override {
    self_ = self;
    log_->push_back("begin " + std::to_string(peers.size()));
    return {};
  }
  Result<ByteVector> round1_for(ParticipantIndex peer) override {
    return to_vector(as_bytes(text(1, self_, peer)));
  }
  Result<void> on_round1(ParticipantIndex peer, ByteView payload) override {
    log_->push_back("1 " + std::to_string(peer));
    return expect(1, peer, payload);
  }
  Result<SecretVector> round2_for(ParticipantIndex peer) override {
    const std::string out = text(2, self_, peer);
    return SecretVector(out.begin(), out.end());
  }
  Result<void> on_round2(ParticipantIndex peer, ByteView payload) override {
    log_->push_back("2 " + std::to_string(peer));
    if (burn_on == peer) {
      return burn(peer, "an extension check that leaks");
    }
    return expect(2, peer, payload);
  }
  Result<SecretVector> finish() override {
    log_->push_back("finish");
    return SecretVector{7, 7};
  }
  ParticipantIndex burn_on = 0;

 private:
  static std::string text(int round, ParticipantIndex from, ParticipantIndex to) {
    return std::to_string(round) + " from " + std::to_string(from) + " to " + std::to_string(to);
  }
  Result<void> expect(int round, ParticipantIndex peer, ByteView payload) const {
    if (as_text(payload) != text(round, peer, self_)) {
      return malformed(peer, "not what we expected");
    }
    return {};
  }
  Log* log_;
  ParticipantIndex self_ = 0;
};

struct Run {
  std::map<ParticipantIndex, Log> logs;
  RunReport report;
};

Run run(ParticipantIndex burner, const Configure& configure = {}) {
  Run out;
  SeededRandom random(41);
  ProtocolRunner runner;
  for (const ParticipantIndex index : first_indices(3)) {
    auto extension = std::make_unique<Chatty>(out.logs[index]);
    extension->burn_on = index == burner ? 2 : 0;
    runner.add(index, std::make_unique<Dkg<Ed25519Group>>(
                          keygen_parameters(Scheme::kEd25519, 2, {1, 2, 3}, index),
                          std::move(extension), random));
  }
  if (configure) {
    configure(runner);
  }
  out.report = runner.run();
  return out;
}

}  // namespace

TEST_CASE("DKG extension: payloads arrive in order and its state joins the key share") {
  const Run done = run(0);
  REQUIRE_FALSE(done.report.any_abort());
  CHECK(done.logs.at(1) == Log{"begin 2", "1 2", "1 3", "2 2", "2 3", "finish"});
  for (const ParticipantIndex index : first_indices(3)) {
    const auto share = KeyShare<Ed25519Group>::decode(as_view(done.report.key(index).secret));
    REQUIRE(share);
    CHECK(share->state == SecretVector{7, 7});
  }
}

TEST_CASE("DKG extension: its abort is the key generation's abort") {
  const Run done = run(3);
  REQUIRE(done.report.at(3).abort);
  CHECK(done.report.at(3).abort->abort_class == AbortClass::kBurn);
  CHECK(done.report.at(3).abort->culprits == std::vector<ParticipantIndex>{2});
}

TEST_CASE("DKG extension: nothing of it is touched when the broadcasts before it differ") {
  // 2 shows 3 another opening: 3 sees a wrong commitment before any payload, and 1 never gets far.
  const Run opening = run(0, [](ProtocolRunner& runner) {
    runner.hook = [](Envelope& e) {
      if (e.from == 2 && e.to == 3 && e.round == 1) {
        e.payload[240] ^= 1U;
      }
    };
  });
  CHECK(opening.logs.at(3) == Log{"begin 2"});
  // 2 shows 3 another hello: all three notice by the echo.
  const Run hello = run(0, [](ProtocolRunner& runner) {
    runner.hook = [](Envelope& e) {
      if (e.from == 2 && e.to == 3 && e.round == 0) {
        e.payload[0] ^= 1U;
      }
    };
  });
  for (const ParticipantIndex index : first_indices(3)) {
    CHECK(hello.logs.at(index) == Log{"begin 2"});
    CHECK(hello.report.at(index).abort->abort_class == AbortClass::kRecoverable);
  }
}
