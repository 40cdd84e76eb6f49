#pragma once
// What a prime-order group must offer to the protocols that are templates on it (crypto/dkg,
// crypto/frost). A group is a struct of three types, two sizes and a few static functions; nothing
// is virtual and nothing is negotiated. Ed25519Group (crypto/ed25519/group.h) is the first model.
//
// Rules every model keeps:
//   * `Scalar` is public: a value with ==, and its arithmetic need not be constant time.
//   * `SecretScalar` is move-only, wiped, has no ==, and its arithmetic is constant time.
//   * `Point` is never the identity: what can yield it returns std::optional, and a sum goes
//   through
//     sum() over the whole list at once, where an interim identity does no harm.
//   * decode() accepts the one canonical encoding of an element of the prime-order group, nothing
//     else; scalars at or above the order are refused, zero is legal.
//   * Wire sizes are fixed: kScalarSize is 32; kPointSize is 32 (Ed25519) or 33 (secp256k1).

#include <concepts>
#include <cstdint>
#include <optional>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/hash.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"

namespace cosigner {

template <class G>
concept ThresholdGroup =
    requires(const typename G::Scalar& scalar, const typename G::SecretScalar& secret,
             const typename G::Point& point, std::span<const typename G::Point> points,
             ByteView bytes, Random& random, const TaggedHash& hash, std::uint64_t number) {
      requires std::regular<typename G::Scalar>;
      requires std::movable<typename G::SecretScalar> && !std::copyable<typename G::SecretScalar>;
      requires std::copyable<typename G::Point> && std::equality_comparable<typename G::Point>;

      // Scalars. A default-made Scalar or SecretScalar is zero.
      { G::Scalar::from_u64(number) } -> std::same_as<typename G::Scalar>;
      { G::Scalar::decode(bytes) } -> std::same_as<std::optional<typename G::Scalar>>;
      { scalar.encode() } -> std::same_as<Bytes<G::kScalarSize>>;
      { scalar.is_zero() } -> std::same_as<bool>;
      { scalar + scalar } -> std::same_as<typename G::Scalar>;
      { scalar* scalar } -> std::same_as<typename G::Scalar>;
      { -scalar } -> std::same_as<typename G::Scalar>;
      {
        scalar.inverse_vartime()
      } -> std::same_as<std::optional<typename G::Scalar>>;  // none for 0

      // Secret scalars: random() is uniform and not zero; reveal() declassifies, aloud.
      { G::SecretScalar::random(random) } -> std::same_as<typename G::SecretScalar>;
      { G::SecretScalar::decode(bytes) } -> std::same_as<std::optional<typename G::SecretScalar>>;
      { secret.encode() } -> std::same_as<SecretBytes<G::kScalarSize>>;
      { secret.duplicate() } -> std::same_as<typename G::SecretScalar>;
      { secret.is_zero() } -> std::same_as<bool>;
      { secret.reveal() } -> std::same_as<typename G::Scalar>;
      { secret + secret } -> std::same_as<typename G::SecretScalar>;
      { secret* secret } -> std::same_as<typename G::SecretScalar>;
      { secret* scalar } -> std::same_as<typename G::SecretScalar>;
      { -secret } -> std::same_as<typename G::SecretScalar>;

      // Points.
      { G::Point::decode(bytes) } -> std::same_as<std::optional<typename G::Point>>;
      { point.encode() } -> std::same_as<Bytes<G::kPointSize>>;
      { G::multiply_base(secret) } -> std::same_as<std::optional<typename G::Point>>;  // none for 0
      { G::multiply_base_vartime(scalar) } -> std::same_as<std::optional<typename G::Point>>;
      { G::multiply_vartime(scalar, point) } -> std::same_as<std::optional<typename G::Point>>;
      // Decode and multiply in one step, for libraries whose multiplication validates its operand.
      {
        G::multiply_encoded_vartime(scalar, bytes)
      } -> std::same_as<std::optional<typename G::Point>>;
      { G::sum(points) } -> std::same_as<std::optional<typename G::Point>>;
      { G::negate(point) } -> std::same_as<typename G::Point>;

      // A Fiat–Shamir challenge: the hash's XOF read as an integer and reduced, bias below 2^-120.
      { G::challenge(hash) } -> std::same_as<typename G::Scalar>;
    };

}  // namespace cosigner
