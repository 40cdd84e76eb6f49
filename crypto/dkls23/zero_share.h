#pragma once
// Pairwise zero shares: ζ_i = Σ_{j>i} Hq(tag; seed_ij, sid) − Σ_{j<i} Hq(tag; seed_ij, sid) over
// the signers. They add up to zero and blind each signer's Lagrange-weighted key share afresh in
// every session.

#include "crypto/base/hash.h"
#include "crypto/secp256k1/scalar.h"

namespace cosigner::dkls23 {

/// The term of ζ_self that belongs to `peer`; the peer's own is its negative.
[[nodiscard]] inline secp256k1::SecretScalar zero_share(const SecretBytes<32>& seed,
                                                        const Digest& sid, std::uint16_t self,
                                                        std::uint16_t peer) {
  SecretBytes<32> digest;
  TaggedHash hash(tag::kZeroShare);
  hash.part(seed.expose()).part(sid).finish_into(digest.expose_mutable());
  secp256k1::SecretScalar value = secp256k1::SecretScalar::reduce(digest.expose());
  return peer > self ? std::move(value) : -value;
}

}  // namespace cosigner::dkls23
