#pragma once
// What a prime-order group must offer to the protocols that are templates on it (crypto/dkg,
// crypto/frost). A group is a struct that names three types and two sizes and carries a few static
// functions, so that it can be laid over types that exist; nothing is virtual, nothing negotiated.
// ed25519::Group (crypto/ed25519/group.h) is the first model.
//
// Rules every model keeps:
//   * `Scalar` is public: a value with ==, default zero; its arithmetic need not be constant time.
//   * `SecretScalar` is move-only, wiped, default zero, has no ==; its arithmetic is constant time.
//   * `Point` is never the identity: what can yield it returns std::optional, and a sum goes
//     through sum() over the whole list at once, where an interim identity does no harm.
//   * decode_point() accepts the one canonical encoding of an element of the prime-order group,
//     nothing else; scalars at or above the order are refused, zero is legal.
//   * Wire sizes are fixed: scalars 32 bytes, points kPointSize: 32 (Ed25519) or 33 (secp256k1).

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
    std::regular<typename G::Scalar> && std::movable<typename G::SecretScalar> &&
    std::default_initializable<typename G::SecretScalar> &&
    !std::copyable<typename G::SecretScalar> && std::copyable<typename G::Point> &&
    std::equality_comparable<typename G::Point> &&
    requires(const typename G::Scalar& scalar, const typename G::SecretScalar& secret,
             const typename G::Point& point, std::span<const typename G::Point> points,
             ByteView bytes, Random& random, const TaggedHash& hash, std::uint64_t number) {
      // Public scalars. inverse_vartime: nothing for zero.
      { G::scalar(number) } -> std::same_as<typename G::Scalar>;
      { G::decode_scalar(bytes) } -> std::same_as<std::optional<typename G::Scalar>>;
      { G::encode(scalar) } -> std::convertible_to<ByteView>;
      { G::inverse_vartime(scalar) } -> std::same_as<std::optional<typename G::Scalar>>;
      { scalar + scalar } -> std::same_as<typename G::Scalar>;
      { scalar - scalar } -> std::same_as<typename G::Scalar>;
      { scalar* scalar } -> std::same_as<typename G::Scalar>;
      { -scalar } -> std::same_as<typename G::Scalar>;

      // Secret scalars. random() is uniform and not zero; reveal() declassifies, aloud.
      { G::SecretScalar::random(random) } -> std::same_as<typename G::SecretScalar>;
      { G::decode_secret(bytes) } -> std::same_as<std::optional<typename G::SecretScalar>>;
      { G::encode(secret) } -> std::same_as<SecretBytes<32>>;
      { G::is_zero(secret) } -> std::same_as<bool>;
      { secret.duplicate() } -> std::same_as<typename G::SecretScalar>;
      { secret.reveal() } -> std::same_as<typename G::Scalar>;
      { secret + secret } -> std::same_as<typename G::SecretScalar>;
      { secret* secret } -> std::same_as<typename G::SecretScalar>;
      { secret* scalar } -> std::same_as<typename G::SecretScalar>;
      { -secret } -> std::same_as<typename G::SecretScalar>;

      // Points. Multiplications give nothing for a zero scalar; multiply_base of a secret is
      // constant time. multiply_encoded_vartime decodes and multiplies in one step, for libraries
      // whose multiplication validates its operand anyhow.
      { G::decode_point(bytes) } -> std::same_as<std::optional<typename G::Point>>;
      { G::encode(point) } -> std::convertible_to<ByteView>;
      { G::multiply_base(secret) } -> std::same_as<std::optional<typename G::Point>>;
      { G::multiply_base_vartime(scalar) } -> std::same_as<std::optional<typename G::Point>>;
      { G::multiply_vartime(scalar, point) } -> std::same_as<std::optional<typename G::Point>>;
      {
        G::multiply_encoded_vartime(scalar, bytes)
      } -> std::same_as<std::optional<typename G::Point>>;
      { G::sum(points) } -> std::same_as<std::optional<typename G::Point>>;
      { G::negate(point) } -> std::same_as<typename G::Point>;

      // A Fiat–Shamir challenge: the hash's XOF as an integer, reduced; bias below 2^-120.
      { G::challenge(hash) } -> std::same_as<typename G::Scalar>;

      requires G::kPointSize == 32 || G::kPointSize == 33;
    };

}  // namespace cosigner
