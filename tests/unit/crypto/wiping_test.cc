// What Ed25519 key generation and signing leave behind on the stack: nothing secret.

#include <catch2/catch.hpp>

#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/session.h"
#include "crypto/frost/share_message.h"
#include "crypto/protocol/key_share.h"
#include "tests/support/canaries.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"

using namespace cosigner;
using namespace cosigner::test;

#ifndef COSIGNER_SANITIZED
namespace {

Canaries canaries;
const ByteVector kMessage{1, 2, 3};

/// Adds every scalar drawn for key generation: coefficients and the nonces of proofs.
class CanaryRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override {
    random_.fill(out);
    if (out.size() == 64) {
      canaries.add(ed25519::SecretScalar::reduce(ByteView(out).first<64>()).expose());
    }
  }

 private:
  SeededRandom random_{38};
};

void* generate(void* argument) {
  CanaryRandom random;
  *static_cast<RunReport*>(argument) = run_keygen(Scheme::kEd25519, 2, {1, 2}, random);
  return nullptr;
}

/// One signer from its construction to its share.
struct Signer {
  const KeyOutcome* key = nullptr;
  ByteVector other_hello;
  ByteVector hello;
  ByteVector share;  ///< the message that carries z
};
constexpr std::uint64_t kSignerSeed = 39;

void* sign(void* argument) {
  Signer& signer = *static_cast<Signer*>(argument);
  SeededRandom random(kSignerSeed);
  const auto protocol = make_sign(sign_parameters(*signer.key, kMessage, 1, 2), random).value();
  signer.hello = protocol->hello();
  const std::vector<SetMember> set{{1, signer.hello}, {2, signer.other_hello}};
  signer.share = protocol->start(set, Digest()).value().front().payload;
  return nullptr;
}

}  // namespace

TEST_CASE("wiping: no stack holds a share, coefficient or nonce after key generation") {
  canaries = {};
  RunReport keys;
  SearchableStack stack;
  stack.run(generate, &keys);
  REQUIRE_FALSE(keys.any_abort());
  for (const ParticipantIndex index : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    const auto key = KeyShare<Ed25519Group>::decode(as_view(keys.key(index).secret));
    canaries.add(key->share.expose());
  }
  CHECK(canaries.count > 10);
  stack.search(canaries);
  CHECK(canaries.found == 0);
}

TEST_CASE("wiping: no stack holds a share, its part in z, or a nonce after signing") {
  using Session = FrostSession<FrostEd25519>;
  SeededRandom random(40);
  const RunReport keys = run_keygen(Scheme::kEd25519, 2, {1, 2}, random);
  const auto other = make_sign(sign_parameters(keys.key(2), kMessage, 2, 2), random).value();
  Signer signer{&keys.key(1), other->hello(), {}, {}};
  SearchableStack stack;
  stack.run(sign, &signer);

  // What it computed with: share, d, e, d + ρe, and λcs = z − (d + ρe).
  canaries = {};
  const auto share = KeyShare<Ed25519Group>::decode(as_view(keys.key(1).secret))->share.duplicate();
  SeededRandom again(kSignerSeed);
  const SecretBytes<32> first = again.secret<32>();
  const SecretBytes<32> second = again.secret<32>();
  const auto session =
      Session::observe(*Bytes<32>::from(keys.key(1).record.public_key),
                       {{1, FrostCommitments<FrostEd25519>::decode(signer.hello, 1).value()},
                        {2, FrostCommitments<FrostEd25519>::decode(signer.other_hello, 2).value()}},
                       kMessage)
          .value();
  const ed25519::Scalar z = FrostShareMessage<FrostEd25519>::decode(signer.share, 1).value().z;
  bool order_found = false;
  for (const auto& [d_from, e_from] : {std::pair(&first, &second), std::pair(&second, &first)}) {
    // Which of the two draws is d's is the compiler's choice (an argument list's order).
    const auto d = FrostEd25519::nonce(*d_from, share);
    const auto e = FrostEd25519::nonce(*e_from, share);
    if (!std::ranges::equal(Ed25519Group::multiply_base(d)->view(),
                            ByteView(signer.hello).first(32))) {
      continue;
    }
    order_found = true;
    const auto own = d + e * session.binding_factor(1);
    canaries.add(d.expose());
    canaries.add(e.expose());
    canaries.add(own.expose());
    canaries.add((ed25519::SecretScalar::from(z) + -own).expose());
  }
  REQUIRE(order_found);
  canaries.add(share.expose());
  stack.search(canaries);
  CHECK(canaries.found == 0);
}
#endif
