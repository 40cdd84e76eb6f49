// A client's request for presignatures is answered once, in time, whatever becomes of its runs.
#include <catch2/catch.hpp>

#include "tests/support/double_agent.h"
#include "tests/support/presign_cluster.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// Throws where presignatures are begun, until it is mended.
class Broken final : public ProtocolFactory {
 public:
  Result<std::unique_ptr<dkls23::PresignProtocol>> presign(SignParameters parameters,
                                                           Random& random) override {
    if (broken) {
      throw std::runtime_error("simulated");
    }
    return ProtocolFactory::presign(std::move(parameters), random);
  }
  bool broken = true;
};

/// The next worker of that node has this factory.
Broken& break_node(PresignCluster& cluster, std::size_t index) {
  auto& node = cluster.node(index);
  cluster.kill(node);
  auto made = std::make_unique<Broken>();
  Broken& factory = *made;
  node.protocols = std::move(made);
  return factory;
}

}  // namespace

TEST_CASE("a node that cannot begin a presignature says so at once, and signs on", "[presign]") {
  PresignCluster cluster(8, 2, 2);
  Broken& factory = break_node(cluster, 0);
  const auto work = cluster.ask(cluster.node(0), cluster.sign(cluster.presign_request(4)).envelope);
  REQUIRE(cluster.settle({work}));
  CHECK(std::get<Error>(cluster.answer(work).content).code == ErrorCode::kHandlerFailed);
  CHECK(cluster.work(work).answered_us < cluster.work(work).asked_us + kSecond);
  CHECK(cluster.counters(0).exceptions >= 1);

  const Request request = cluster.ecdsa_request();
  const auto works = cluster.ask_all(cluster.sign(request).envelope);
  REQUIRE(cluster.settle(works));
  CHECK(cluster.check_signatures(works, request.message) == works.size());

  factory.broken = false;
  cluster.run(31 * kSecond);  // it tries that set again
  CHECK(cluster.presign(4) == 4);
}

TEST_CASE("a member that cannot begin a presignature refuses it, and the owner waits for nobody",
          "[presign]") {
  PresignCluster cluster(9, 2, 2);
  const Broken& factory = break_node(cluster, 1);
  REQUIRE(factory.broken);
  const auto works = cluster.ask_all(cluster.sign(cluster.presign_request(2)).envelope);
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK_FALSE(cluster.answer(id).ok());
    CHECK(cluster.work(id).answers.size() == 1);
  }
  CHECK(cluster.counters(1).presign_refused >= 2);
  CHECK(cluster.counters(1).exceptions >= 2);
  CHECK(cluster.counters(0).exceptions == 0);
  CHECK(cluster.counters(0).misbehaviours == 0);
}

TEST_CASE("a request that is asked for again is served beside what its first time left running",
          "[presign]") {
  PresignCluster cluster(10, 2, 2);
  // Longer than a request that gets no further is served, shorter than a run without progress.
  cluster.settings.keygen_deadline_ms = 4'500;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    cluster.kill(cluster.node(i));
  }
  bool silent = true;
  DoubleAgent agent(cluster, "n2", [&](const std::string&, std::vector<ByteVector>& messages) {
    if (silent) {
      std::erase_if(messages, is<PresignRound>);
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  const SignedRequest request = cluster.sign(cluster.presign_request(4));
  const auto works = cluster.ask_all(request.envelope);
  REQUIRE(cluster.settle({works[0]}));
  REQUIRE_FALSE(cluster.answer(works[0]).ok());
  REQUIRE(cluster.work(works[0]).answered_us >= cluster.work(works[0]).asked_us + 4 * kSecond);
  REQUIRE(cluster.counters(0).presign_runs > cluster.counters(0).presign_failed);  // left running
  silent = false;
  const auto again = cluster.ask(cluster.node(0), request.envelope);
  REQUIRE(cluster.settle({again}));
  CHECK(cluster.work(again).answered_us < cluster.work(again).asked_us + 4 * kSecond);
  REQUIRE(cluster.answer(again).ok());
  CHECK(std::get<PresignResult>(cluster.answer(again).content).made == 2);
}
