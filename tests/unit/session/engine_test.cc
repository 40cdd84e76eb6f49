// The engine in its ordinary life: keys are made, signatures made, results served again.
#include <catch2/catch.hpp>

#include "tests/support/engine_cluster.h"

using namespace cosigner;
using cosigner::test::EngineCluster;
using cosigner::test::kMs;
using cosigner::test::kSecond;

TEST_CASE("three engines make a key and sign with it", "[engine]") {
  EngineCluster cluster(1, 3);
  const ByteVector key = cluster.make_key("k", 2);
  const auto works = cluster.ask_all(cluster.sign(cluster.sign_request("k", {1, 2, 3})).envelope);
  REQUIRE(cluster.settle(works, 5 * kSecond));
  for (const std::uint64_t id : works) {
    const RequestAnswer& answer = cluster.answer(id);
    REQUIRE(answer.ok());
    const auto& result = std::get<SignResult>(answer.content);
    CHECK(result.public_key == key);
    CHECK(verify_signature_vartime(Scheme::kEd25519, key, ByteVector{1, 2, 3}, result.signature));
  }
}
