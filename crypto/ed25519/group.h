#pragma once
// The prime-order subgroup of edwards25519 over libsodium 1.0.18 (the only file pair that calls its
// point functions). A Point is its canonical 32-byte encoding: libsodium has no other public form,
// and re-encodes after every operation.
//
// What each libsodium call checks, which this wrapper relies on:
//   scalarmult_ed25519_noclamp  canonical, not small order, prime order (30 of its 62 µs); fails on
//                               a zero scalar and on the identity as result
//   core_ed25519_is_valid_point the same checks alone, 30 µs
//   core_ed25519_add            on the curve only, 9 µs: so it is fed validated points only
// scalarmult_ed25519 (without noclamp) would clamp the scalar and is never used.

#include <optional>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/hash.h"
#include "crypto/ed25519/scalar.h"

namespace cosigner::ed25519 {

inline constexpr std::size_t kPointSize = 32;

/// An element of the prime-order subgroup, never the identity. Made only by decode() or by
/// arithmetic.
class Point {
 public:
  /// Accepts the canonical encoding of a point of prime order: not the identity, no small or mixed
  /// order, y < 2^255−19, no negative zero (RFC 9591 §6.1, DeserializeElement). 30 µs.
  [[nodiscard]] static std::optional<Point> decode(ByteView bytes);
  [[nodiscard]] Bytes<kPointSize> encode() const { return bytes_; }
  [[nodiscard]] ByteView view() const { return bytes_.view(); }
  friend bool operator==(const Point&, const Point&) = default;

 private:
  friend struct Group;
  explicit Point(const Bytes<kPointSize>& bytes) : bytes_(bytes) {}
  Bytes<kPointSize> bytes_;
};

/// Models ThresholdGroup (crypto/protocol/group.h).
struct Group {
  using Scalar = ed25519::Scalar;
  using SecretScalar = ed25519::SecretScalar;
  using Point = ed25519::Point;
  static constexpr std::size_t kPointSize = ed25519::kPointSize;

  [[nodiscard]] static Scalar scalar(std::uint64_t value) { return Scalar::from_u64(value); }
  [[nodiscard]] static std::optional<Scalar> decode_scalar(ByteView b) { return Scalar::decode(b); }
  [[nodiscard]] static Bytes<kScalarSize> encode(const Scalar& value) { return value.encode(); }
  [[nodiscard]] static std::optional<Scalar> inverse_vartime(const Scalar& value) {
    return value.inverse_vartime();
  }
  [[nodiscard]] static std::optional<SecretScalar> decode_secret(ByteView bytes) {
    return SecretScalar::decode(bytes);
  }
  [[nodiscard]] static SecretBytes<kScalarSize> encode(const SecretScalar& value) {
    return value.encode();
  }
  [[nodiscard]] static bool is_zero(const SecretScalar& value) { return value.is_zero(); }
  [[nodiscard]] static std::optional<Point> decode_point(ByteView b) { return Point::decode(b); }
  [[nodiscard]] static Bytes<kPointSize> encode(const Point& point) { return point.encode(); }

  /// scalar·B, constant time, 11 µs; nothing for zero.
  [[nodiscard]] static std::optional<Point> multiply_base(const SecretScalar& scalar);
  [[nodiscard]] static std::optional<Point> multiply_base_vartime(const Scalar& scalar);
  /// scalar·point, 62 µs; nothing for zero.
  [[nodiscard]] static std::optional<Point> multiply_vartime(const Scalar& scalar,
                                                             const Point& point);
  /// scalar·decode(bytes) for the price of the multiplication alone, since libsodium validates its
  /// operand anyhow. Nothing for an encoding that decode() refuses, or a zero scalar.
  [[nodiscard]] static std::optional<Point> multiply_encoded_vartime(const Scalar& scalar,
                                                                     ByteView bytes);
  /// Sum of the whole list, 9 µs for each after the first; nothing for an empty list or when the
  /// sum is the identity (which interim sums may be).
  [[nodiscard]] static std::optional<Point> sum(std::span<const Point> points);
  [[nodiscard]] static Point negate(const Point& point);
  /// XOF(…, 64 bytes) as a little-endian integer mod L: bias below 2^-252.
  [[nodiscard]] static Scalar challenge(const TaggedHash& hash);
};

}  // namespace cosigner::ed25519

namespace cosigner {
using Ed25519Group = ed25519::Group;
}
