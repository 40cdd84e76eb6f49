// Honest nodes that do not know the same: a worker that began again, another peers file. It costs
// an attempt or ends in an error that says why; nobody is blamed.
#include <catch2/catch.hpp>

#include "tests/support/presign_cluster.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// A factory whose next signing throws at its first message.
class ThrowingAtFirst final : public ProtocolFactory {
 public:
  [[nodiscard]] Result<std::unique_ptr<Protocol>> sign(SignParameters parameters,
                                                       Random& random) override {
    auto made = ProtocolFactory::sign(std::move(parameters), random);
    if (made && std::exchange(armed, false)) {
      return std::make_unique<Throwing>(*std::move(made));
    }
    return made;
  }
  bool armed = false;

 private:
  class Throwing final : public Protocol {
   public:
    explicit Throwing(std::unique_ptr<Protocol> inner) : inner_(std::move(inner)) {}
    [[nodiscard]] const ByteVector& hello() const override { return inner_->hello(); }
    [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                         const Digest& binding) override {
      return inner_->start(set, binding);
    }
    [[nodiscard]] Result<Messages> receive(ParticipantIndex, std::uint8_t, ByteView) override {
      throw std::runtime_error("a bug");
    }
    [[nodiscard]] std::optional<Outcome> take_outcome() override { return inner_->take_outcome(); }
    [[nodiscard]] std::size_t payload_limit() const override { return inner_->payload_limit(); }

   private:
    std::unique_ptr<Protocol> inner_;
  };
};

void restart(EngineCluster& cluster, EngineCluster::Node& node) {
  cluster.kill(node);
  cluster.start_worker(node);
  cluster.run(5 * kMs);
}

}  // namespace

TEST_CASE("a coordinator whose session ended and was asked for again is no equivocator", "[view]") {
  EngineCluster cluster(7, 2);
  auto owned = std::make_unique<ThrowingAtFirst>();
  ThrowingAtFirst& factory = *owned;
  cluster.node(0).protocols = std::move(owned);
  cluster.make_key("k", 2);
  const SignedRequest request = cluster.coordinated_by("n1");
  factory.armed = true;
  const auto works = cluster.ask_all(request.envelope);
  REQUIRE(cluster.settle({works[0]}));
  REQUIRE(std::get<Error>(cluster.answer(works[0]).content).code == ErrorCode::kHandlerFailed);
  // While n2 still runs the attempt that n1 has left.
  REQUIRE(cluster.work(works[1]).answers.empty());
  const auto again = cluster.ask(cluster.node(0), request.envelope);
  REQUIRE(cluster.settle({works[1], again}));
  CHECK(cluster.answer(works[1]).ok());
  CHECK(cluster.answer(again).ok());
  CHECK(cluster.counters(1).equivocations == 0);
  CHECK(cluster.counters(1).misbehaviours == 0);
  CHECK(cluster.counters(0).misbehaviours == 0);
}

TEST_CASE("a participant that left this node's peers keeps nobody from signing", "[view]") {
  const auto scheme = GENERATE(Scheme::kEd25519, Scheme::kEcdsaSecp256k1);
  EngineCluster cluster(9, 3);
  cluster.make_key("k", 2, scheme);
  cluster.set_present(cluster.node(2), false);
  cluster.node(2).cut = true;
  cluster.peers_file().pop_back();
  restart(cluster, cluster.node(0));
  restart(cluster, cluster.node(1));
  Request sign = cluster.sign_request("k", ByteVector(32, 1));
  sign.scheme = scheme;
  Request presign = cluster.sign_request("k", {});
  presign.operation = Operation::kPresign;
  presign.scheme = Scheme::kEcdsaSecp256k1;
  presign.count = 2;
  for (const Request& request : {sign, presign}) {
    if (request.operation == Operation::kPresign && scheme != presign.scheme) {
      continue;
    }
    const SignedRequest asked = cluster.sign(request);
    const std::vector<std::uint64_t> works{cluster.ask(cluster.node(0), asked.envelope),
                                           cluster.ask(cluster.node(1), asked.envelope)};
    REQUIRE(cluster.settle(works));
    for (const std::uint64_t id : works) {
      CHECK(cluster.answer(id).ok());
    }
  }
  for (std::size_t i = 0; i < 2; ++i) {
    REQUIRE(cluster.node(i).engine != nullptr);
    CHECK(cluster.counters(i).exceptions == 0);
  }
  CHECK(std::ranges::any_of(cluster.log, [](const std::string& line) {
    return line.starts_with("n1: node n3, a participant of key k, is not among");
  }));
}

TEST_CASE("two peers files that differ in a third node's identity keep nobody from signing",
          "[view]") {
  const auto scheme = GENERATE(Scheme::kEd25519, Scheme::kEcdsaSecp256k1);
  EngineCluster cluster(4, 3);
  cluster.make_key("k", 2, scheme);
  cluster.set_present(cluster.node(2), false);
  cluster.node(2).cut = true;
  const auto before = cluster.peers_file()[2].identity;
  SeededRandom random(5);
  cluster.peers_file()[2].identity = IdentityKey::generate(random).public_key();
  restart(cluster, cluster.node(0));  // n1 has the new file, n2 not yet
  cluster.peers_file()[2].identity = before;
  Request request = cluster.sign_request("k", ByteVector(32, 1));
  request.scheme = scheme;
  const SignedRequest asked = cluster.sign(request);
  const std::vector<std::uint64_t> works{cluster.ask(cluster.node(0), asked.envelope),
                                         cluster.ask(cluster.node(1), asked.envelope)};
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(cluster.answer(id).ok());
  }
  CHECK(cluster.counters(0).misbehaviours == 0);
  CHECK(cluster.counters(1).misbehaviours == 0);
}
