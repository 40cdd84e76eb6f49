// A member that spoils every presignature in a way that names nobody: class D
// (crypto/base/abort.h). It bans nobody, and is counted and told to the operator, for nothing else
// would show it.
#include <catch2/catch.hpp>

#include "crypto/protocol/key_share.h"
#include "crypto/secp256k1/group.h"
#include "tests/support/ecdsa_cluster.h"
#include "worker/session/protocol_factory.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;

namespace {

/// Presigns with another share than its own: all its messages agree with one another, and the key
/// shares do not add up to the key.
class WrongShare final : public ProtocolFactory {
 public:
  Result<std::unique_ptr<dkls23::PresignProtocol>> presign(SignParameters parameters,
                                                           Random& random) override {
    using Share = KeyShare<Secp256k1Group>;
    Share share = Share::decode(parameters.secret).value();
    share.share = share.share + secp256k1::Scalar::from_u64(1);
    const SecretVector wrong = share.encode();
    parameters.secret = as_view(wrong);
    return ProtocolFactory::presign(std::move(parameters), random);
  }
};

/// What a node's worker tells its supervisor since it was last asked.
std::uint64_t told(EcdsaCluster& cluster, std::size_t at) {
  const auto metrics = cluster.node(at).engine->take_metrics();
  return metrics ? metrics->events.unattributable : 0;
}

}  // namespace

TEST_CASE("presigning with somebody who lies and cannot be named is counted, and bans nobody",
          "[presign][burn]") {
  EcdsaCluster cluster(41, 3, 3);
  cluster.settings.presignature_pool = 2;
  cluster.node("n3").protocols = std::make_unique<WrongShare>();  // before its worker starts
  REQUIRE(cluster.signs({"n1", "n2", "n3"}));  // honestly; a key in use is kept in stock
  cluster.run(3 * kSecond);
  for (std::size_t i = 0; i < 2; ++i) {
    CAPTURE(i);
    const std::uint64_t counted = cluster.counters(i).unattributable;
    CHECK(counted >= 1);
    CHECK(told(cluster, i) == counted);
    CHECK(told(cluster, i) == 0);  // once
    CHECK(cluster.counters(i).presignatures_made == 0);
    CHECK(cluster.counters(i).misbehaviours == 0);
    CHECK(cluster.counters(i).burns == 0);
  }
  CHECK(cluster.bans() == 0);
}
