#include "crypto/secp256k1/context.h"

#include <cassert>
#include <cstdlib>

namespace cosigner::secp256k1 {

namespace {

secp256k1_context* make_context() {
  secp256k1_context* made =
      secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
  if (made == nullptr) {
    std::abort();  // out of memory at start-up
  }
  SystemRandom random;
  const SecretBytes<32> seed = random.secret<32>();
  if (secp256k1_context_randomize(made, seed.expose().data()) != 1) {
    std::abort();
  }
  return made;
}

secp256k1_context* mutable_context() {
  static secp256k1_context* const shared = make_context();
  return shared;
}

}  // namespace

const secp256k1_context* context() {
  return mutable_context();
}

void reblind_context(Random& random) {
  const SecretBytes<32> seed = random.secret<32>();
  if (secp256k1_context_randomize(mutable_context(), seed.expose().data()) != 1) {
    std::abort();
  }
}

}  // namespace cosigner::secp256k1
