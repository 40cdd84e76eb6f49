// What a presigner keeps for others, and for how long a request of its own is served: bounds that
// hold also when starts are lost, a third member is silent, or the worker is drained.
#include <catch2/catch.hpp>

#include "tests/support/double_agent.h"
#include "tests/support/presign_cluster.h"
#include "worker/session/presign_messages.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

bool full(PresignCluster& cluster, std::size_t ready) {
  return cluster.run(60 * kSecond, [&] { return cluster.ready() == ready; });
}

}  // namespace

TEST_CASE("starts that come too late fill no quota: the pool is full again") {
  PresignCluster cluster(2, 2, 2, 8);
  cluster.sign_one();
  REQUIRE(full(cluster, 16));
  cluster.run(40 * kSecond);
  // What n1 says is lost for a moment, with eight signatures under way.
  bool hiccup = true;
  cluster.filter = [&](const std::string& from, const std::string&, ByteVector& packet) {
    return !(hiccup && from == "n1" && packet_kind(packet) == PacketKind::kSealed);
  };
  std::vector<std::uint64_t> works;
  for (int i = 0; i < 8; ++i) {
    Request request;
    for (const std::uint64_t id : cluster.ask_all(cluster.coordinated_by("n1", request).envelope)) {
      works.push_back(id);
    }
  }
  cluster.run(600 * kMs);
  hiccup = false;
  REQUIRE(cluster.settle(works));
  REQUIRE(cluster.sum(&Counters::presignatures_named) >= 8);
  CHECK(full(cluster, 16));
  cluster.check_single_use();
}

TEST_CASE("starts that never come fill no quota for long") {
  // The owner's trace of them is lost altogether: only its floor says that they are gone.
  PresignCluster cluster(3, 2, 2, 8);
  cluster.sign_one();
  REQUIRE(full(cluster, 16));
  cluster.run(40 * kSecond);
  DoubleAgent agent(cluster, "n1", [&](const std::string&, std::vector<ByteVector>& messages) {
    std::erase_if(messages, is<Start>);
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return agent(from, to, packet);
  };
  std::vector<std::uint64_t> works;
  for (int i = 0; i < 8; ++i) {
    Request request;
    for (const std::uint64_t id : cluster.ask_all(cluster.coordinated_by("n1", request).envelope)) {
      works.push_back(id);
    }
  }
  REQUIRE(cluster.settle(works));
  cluster.filter = nullptr;
  CHECK(full(cluster, 16));
}

TEST_CASE("an owner does not pay for another member's silence") {
  // n4 takes part in every run and says nothing to n2, which gives up first. n2 then still takes
  // the next proposals of n1 and n3, whose stock and runs are below its bounds all the time.
  PresignCluster cluster(4, 4, 3, 30);
  DoubleAgent saboteur(cluster, "n4", [](const std::string& to, std::vector<ByteVector>& messages) {
    std::erase_if(messages, [&](const ByteVector& message) {
      return to == "n2" && is<PresignRound>(message);
    });
  });
  std::size_t refused = 0;
  DoubleAgent witness(cluster, "n2", [&](const std::string& to, std::vector<ByteVector>& messages) {
    for (const ByteVector& message : messages) {
      refused += to != "n4" && is<PresignEnd>(message) &&
                         decoded<PresignEnd>(message).reason ==
                             static_cast<std::uint8_t>(PresignEnd::Reason::kFull)
                     ? 1U
                     : 0U;
    }
  });
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& packet) {
    return saboteur(from, to, packet) && witness(from, to, packet);
  };
  cluster.sign_one();  // the key is in use: pools are filled
  cluster.run(12 * kSecond);
  REQUIRE(cluster.counters(1).presign_failed > 0);
  CHECK(refused == 0);
}

TEST_CASE("drain: a request for presignatures is answered by the deadline") {
  PresignCluster cluster(5, 3, 2);
  cluster.node(1).cut = cluster.node(2).cut = true;
  const auto work = cluster.ask(cluster.node(0), cluster.sign(cluster.presign_request(6)).envelope);
  cluster.run(200 * kMs);
  REQUIRE(cluster.work(work).answers.empty());
  const std::int64_t asked = cluster.now();
  cluster.node(0).engine->drain(cluster.clock(), cluster.clock().monotonic_us + kSecond);
  cluster.poke(cluster.node(0));
  REQUIRE(cluster.settle({work}));
  CHECK(cluster.work(work).answered_us <= asked + kSecond + 10 * kMs);
  const Error& error = std::get<Error>(cluster.answer(work).content);
  CHECK(error.code == ErrorCode::kShuttingDown);
  CHECK_FALSE(error.may_have_executed);
}

TEST_CASE("drain: a request that has made presignatures says how many, and that it has") {
  PresignCluster cluster(6, 3, 2);
  const SignedRequest request = cluster.sign(cluster.presign_request(300));
  const auto works = cluster.ask_all(request.envelope);
  const auto made = [&] { return cluster.node(0).engine->presignatures("k").ready; };
  for (int turn = 0; turn < 5000 && made() == 0; ++turn) {
    cluster.run(kMs);
  }
  REQUIRE(made() > 0);
  REQUIRE(cluster.work(works[0]).answers.empty());
  // Its runs end with nobody: before kTimeoutUs is over the drain's deadline is.
  cluster.node(1).cut = cluster.node(2).cut = true;
  cluster.node(0).engine->drain(cluster.clock(), cluster.clock().monotonic_us + kSecond);
  cluster.poke(cluster.node(0));
  REQUIRE(cluster.settle({works[0]}));
  const Error& error = std::get<Error>(cluster.answer(works[0]).content);
  CHECK(error.code == ErrorCode::kShuttingDown);
  CHECK(error.may_have_executed);
  INFO(error.message);
  CHECK(error.message.find("; " + std::to_string(made()) + " presignatures were made") !=
        std::string::npos);
}
