#pragma once
// A point whose discrete logarithm nobody knows, by try and increment: for c = 0, 1, 2, … take 33
// bytes of XOF(tag; …, u32 c); the first byte's lowest bit is the parity of y, the other 32 bytes
// are x; the first that lies on the curve is the result. Two tries are expected, 11 µs.
//
// There is no multiplication of the generator here and must never be: a hash times G has a discrete
// logarithm that everyone knows, and a base OT built on it hands its choice bits to the sender.
// The number of tries depends on the input; callers see to it that this tells nothing.

#include "crypto/base/hash.h"
#include "crypto/base/random.h"
#include "crypto/secp256k1/point.h"

namespace cosigner::dkls23 {

/// `input` holds the tag and the parts before the counter.
[[nodiscard]] secp256k1::Point hash_to_curve_vartime(const TaggedHash& input);

/// A uniformly random point, made from random x; nobody knows its discrete logarithm either.
[[nodiscard]] secp256k1::Point random_point(Random& random);

}  // namespace cosigner::dkls23
