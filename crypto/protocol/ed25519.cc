// The scheme "ed25519": FROST(Ed25519, SHA-512) over keys of the common DKG.

#include "crypto/dkg/dkg.h"
#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/signing.h"
#include "crypto/protocol/schemes.h"

namespace cosigner {

Result<std::unique_ptr<Protocol>> make_ed25519_keygen(const KeygenParameters& parameters,
                                                      Random& random) {
  return std::make_unique<Dkg<Ed25519Group>>(parameters, nullptr, random);
}

Result<std::unique_ptr<Protocol>> make_ed25519_sign(SignParameters parameters, Random& random) {
  return FrostSigning<FrostEd25519>::make(std::move(parameters), random);
}

}  // namespace cosigner
