#pragma once
// Points of secp256k1, on libsecp256k1's public API only. A Point is never the identity: what could
// be the identity (a sum, a product) is an optional. Points are public unless they are a
// SecretPoint.

#include <secp256k1.h>

#include <optional>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"
#include "crypto/secp256k1/scalar.h"

namespace cosigner::secp256k1 {

using UncompressedPoint = Bytes<65, struct UncompressedPointKind>;  ///< 04 ‖ x ‖ y

class Point {
 public:
  /// Strict: 33 bytes, prefix 02 or 03, x below the field's order and on the curve. 5.2 µs.
  [[nodiscard]] static std::optional<Point> decode(ByteView compressed);
  /// Strict: 65 bytes with prefix 04. 0.1 µs.
  [[nodiscard]] static std::optional<Point> decode_uncompressed(ByteView bytes);
  /// k·G in constant time; nothing for k = 0. 20 µs.
  [[nodiscard]] static std::optional<Point> generator_times(const SecretScalar& k);
  [[nodiscard]] static std::optional<Point> generator_times(const Scalar& k);
  [[nodiscard]] static const Point& generator();
  /// Nothing when the sum is the identity (intermediate sums may be). 1.4 µs a point.
  [[nodiscard]] static std::optional<Point> sum(std::span<const Point> points);
  /// `b` where mask is 0xff, `a` where it is 0, in constant time.
  [[nodiscard]] static Point select(const Point& a, const Point& b, std::uint8_t mask);

  [[nodiscard]] Bytes<33> encode() const;
  [[nodiscard]] UncompressedPoint uncompressed() const;
  [[nodiscard]] Point negated() const;
  /// k·P for a public k, in variable time; nothing for k = 0. 31 µs.
  [[nodiscard]] std::optional<Point> times_vartime(const Scalar& k) const;
  /// P + k·G for a public k, in variable time. 25 µs.
  [[nodiscard]] std::optional<Point> plus_generator_times_vartime(const Scalar& k) const;

  friend bool operator==(const Point& a, const Point& b);
  [[nodiscard]] const secp256k1_pubkey& raw() const { return key_; }

 private:
  Point() = default;
  explicit Point(const secp256k1_pubkey& key) : key_(key) {}
  secp256k1_pubkey key_{};
};

[[nodiscard]] inline std::optional<Point> sum_of(const Point& a, const Point& b) {
  const std::array<Point, 2> both{a, b};
  return Point::sum(both);
}

/// The affine coordinates x ‖ y of a point that nobody may see.
class SecretPoint {
 public:
  /// k·P in constant time; nothing for k = 0. 41 µs.
  [[nodiscard]] static std::optional<SecretPoint> times(const SecretScalar& k, const Point& point);
  /// 02 or 03 ‖ x.
  [[nodiscard]] SecretBytes<33> compressed() const;
  /// In constant time.
  [[nodiscard]] bool equals(const Point& other) const;
  [[nodiscard]] ByteView coordinates() const { return coordinates_.expose(); }

 private:
  SecretPoint() = default;
  SecretBytes<64> coordinates_;
};

}  // namespace cosigner::secp256k1
