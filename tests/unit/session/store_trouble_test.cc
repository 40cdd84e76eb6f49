// A store that fails for a while, answers late, or gives back what it was not given: requests get
// one typed answer each, and promises are kept.
#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

ErrorCode failure_code(const RequestAnswer& answer) {
  const auto* error = std::get_if<Error>(&answer.content);
  REQUIRE(error != nullptr);
  return error->code;
}

}  // namespace

TEST_CASE("an activation that the store refuses is tried again until the key is active") {
  EngineCluster cluster(41, 3);
  cluster.node(0).store->fail_activations = 2;
  cluster.node(1).store->fail_activations = 1;
  const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(cluster.answer(id).ok());
    CHECK(cluster.work(id).answers.size() == 1);
  }
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.node(i).store->fail_activations == 0);
    CHECK(cluster.node(i).store->active.contains("k"));
    CHECK(cluster.node(i).store->pending.empty());
  }
}

TEST_CASE("a discard that the store refuses is tried again: the share is not held for good") {
  EngineCluster cluster(42, 3);
  cluster.node(2).store->fail_pending = true;  // it refuses the record
  cluster.node(0).store->fail_discards = 2;
  const auto works = cluster.ask_all(cluster.sign(cluster.keygen_request("k", 2)).envelope);
  REQUIRE(cluster.run(60 * kSecond, [&] {
    return !cluster.node(0).store->discarded.empty() && !cluster.node(1).store->discarded.empty();
  }));
  CHECK(cluster.node(0).store->fail_discards == 0);
  cluster.node(2).store->fail_pending = false;
  REQUIRE(cluster.settle(works));
  cluster.run(30 * kSecond);
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    CHECK(cluster.node(i).store->pending.empty());
  }
  CHECK(cluster.make_key("other", 2).size() == 32);
}

TEST_CASE("a lookup that is not answered ends its request, once, and a late answer is nobody's") {
  EngineCluster cluster(43, 3);
  cluster.make_key("k", 2);
  const SignedRequest request = cluster.sign(cluster.sign_request("k", {1}));
  cluster.kill(cluster.node(0));
  cluster.store_us = 20 * kSecond;
  const std::vector<std::uint64_t> works{cluster.ask(cluster.node(0), request.envelope),
                                         cluster.ask(cluster.node(0), request.envelope)};
  REQUIRE(cluster.settle(works));
  for (const std::uint64_t id : works) {
    CHECK(failure_code(cluster.answer(id)) == ErrorCode::kStorageFailed);
    CHECK(std::get<Error>(cluster.answer(id).content).retryable);
  }
  cluster.run(50 * kSecond);
  for (const std::uint64_t id : works) {
    CHECK(cluster.work(id).answers.size() == 1);
  }
}

TEST_CASE("a stored result that cannot be read is no answer, and no leave to run it again") {
  EngineCluster cluster(44, 3);
  cluster.make_key("k", 2);
  const SignedRequest request = cluster.sign(cluster.sign_request("k", {1}));
  REQUIRE(cluster.settle(cluster.ask_all(request.envelope)));
  cluster.run(100 * kMs);
  const SignedRequest other = cluster.sign(cluster.sign_request("k", {2}));
  REQUIRE(cluster.settle(cluster.ask_all(other.envelope)));
  cluster.run(100 * kMs);
  auto& store = *cluster.node(0).store;
  const auto altered = GENERATE(0, 1);
  REQUIRE(store.results.contains(request.session));
  store.results[request.session] =
      altered == 0 ? ByteVector{1, 2, 3} : store.results.at(other.session);
  cluster.kill(cluster.node(0));
  const auto work = cluster.ask(cluster.node(0), request.envelope);
  REQUIRE(cluster.settle({work}));
  CHECK(failure_code(cluster.answer(work)) == ErrorCode::kStorageFailed);
  CHECK(cluster.counters(0).sessions_started == 0);
}
