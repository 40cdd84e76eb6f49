#pragma once
// The inverse of a public value, in a third of the time of the constant-time power of limbs.h: an
// assembler inverts Σu once for every signature, and Σu is no secret (its parts went over the
// wire).

#include "crypto/secp256k1/limbs.h"

namespace cosigner::secp256k1 {

/// Variable time: for public values only. `a` is not zero. 6 µs.
[[nodiscard]] Limbs invert_vartime(const Limbs& a);

}  // namespace cosigner::secp256k1
