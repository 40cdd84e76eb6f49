#pragma once
// The process-wide libsecp256k1 context. Its blinding is refreshed from the system's generator when
// it is made and again by reblind_context(), which a forked process calls first.

#include <secp256k1.h>

#include "crypto/base/random.h"

namespace cosigner::secp256k1 {

/// Valid for the life of the process; safe to use from several threads.
[[nodiscard]] const secp256k1_context* context();

/// Draws a new blinding for multiplications with secrets. Not while another thread computes.
void reblind_context(Random& random);

}  // namespace cosigner::secp256k1
