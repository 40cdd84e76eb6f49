#pragma once
// secp256k1 as a model of ThresholdGroup (crypto/protocol/group.h), for the protocols that are
// templates on a group: the common key generation.

#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"
#include "crypto/protocol/group.h"
#include "crypto/secp256k1/point.h"

namespace cosigner::secp256k1 {

struct Group {
  using Scalar = secp256k1::Scalar;
  using SecretScalar = secp256k1::SecretScalar;
  using Point = secp256k1::Point;
  static constexpr std::size_t kPointSize = 33;

  [[nodiscard]] static Scalar scalar(std::uint64_t value) { return Scalar::from_u64(value); }
  [[nodiscard]] static std::optional<Scalar> decode_scalar(ByteView bytes) {
    return Scalar::decode(bytes);
  }
  [[nodiscard]] static Bytes<32> encode(const Scalar& scalar) { return scalar.encode(); }
  [[nodiscard]] static std::optional<Scalar> inverse_vartime(const Scalar& scalar) {
    return scalar.inverse_vartime();
  }
  [[nodiscard]] static std::optional<SecretScalar> decode_secret(ByteView bytes) {
    return SecretScalar::decode(bytes);
  }
  [[nodiscard]] static SecretBytes<32> encode(const SecretScalar& secret) {
    return secret.encode();
  }
  [[nodiscard]] static bool is_zero(const SecretScalar& secret) { return secret.is_zero(); }
  [[nodiscard]] static std::optional<Point> decode_point(ByteView bytes) {
    return Point::decode(bytes);
  }
  [[nodiscard]] static Bytes<33> encode(const Point& point) { return point.encode(); }

  /// 20 µs, constant time; nothing for zero. The product is public: the protocols that are
  /// templates on a group send every one of them, or compare it with what was sent.
  [[nodiscard]] static std::optional<Point> multiply_base(const SecretScalar& scalar) {
    std::optional<Point> out = Point::generator_times(scalar);
    declassify(&out, sizeof out);
    return out;
  }
  [[nodiscard]] static std::optional<Point> multiply_base_vartime(const Scalar& scalar) {
    return Point::generator_times(scalar);
  }
  /// 31 µs; nothing for zero.
  [[nodiscard]] static std::optional<Point> multiply_vartime(const Scalar& scalar,
                                                             const Point& point) {
    return point.times_vartime(scalar);
  }
  /// 36 µs; nothing for an encoding that decode() refuses, or a zero scalar.
  [[nodiscard]] static std::optional<Point> multiply_encoded_vartime(const Scalar& scalar,
                                                                     ByteView bytes) {
    const std::optional<Point> point = Point::decode(bytes);
    return point ? point->times_vartime(scalar) : std::nullopt;
  }
  [[nodiscard]] static std::optional<Point> sum(std::span<const Point> points) {
    return Point::sum(points);
  }
  [[nodiscard]] static Point negate(const Point& point) { return point.negated(); }
  /// XOF(…, 64 bytes) as a big-endian integer mod q: bias below 2^-255.
  [[nodiscard]] static Scalar challenge(const TaggedHash& hash) {
    std::array<std::uint8_t, 64> wide;
    hash.expand_into(wide);
    return Scalar::reduce(wide);
  }
};

static_assert(ThresholdGroup<Group>);

}  // namespace cosigner::secp256k1

namespace cosigner {
using Secp256k1Group = secp256k1::Group;
}
