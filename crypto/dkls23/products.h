#pragma once
// Products of secret scalars with points, and what of them may be seen.

#include <optional>

#include "crypto/base/declassify.h"
#include "crypto/secp256k1/point.h"

namespace cosigner::dkls23 {

/// k·G of a secret whose product is sent to the peers.
[[nodiscard]] inline secp256k1::Point published_product(const secp256k1::SecretScalar& k) {
  secp256k1::Point out = *secp256k1::Point::generator_times(k);  // zero has probability 2^-256
  declassify(&out.raw(), sizeof out.raw());
  return out;
}

/// χ·base == d·G + Γ, in constant time.
[[nodiscard]] inline bool product_matches(const secp256k1::SecretScalar& chi,
                                          const secp256k1::Point& base,
                                          const secp256k1::SecretScalar& d,
                                          const secp256k1::Point& gamma) {
  using secp256k1::Point;
  using secp256k1::SecretPoint;
  const std::optional<SecretPoint> product = SecretPoint::times(chi, base);
  std::optional<Point> known = Point::generator_times(d);
  if (!product || !known) {
    return false;  // χ or d is zero: 2^-256
  }
  // The sum branches only where it meets zero or the identity: 2^-256 for a peer that does not
  // know d.
  declassify(&known->raw(), sizeof known->raw());
  const std::optional<Point> sum = secp256k1::sum_of(*known, gamma);
  return sum && declassified(product->equals(*sum));
}

}  // namespace cosigner::dkls23
