#include "crypto/ed25519/group.h"

#include <sodium.h>

#include "crypto/base/declassify.h"
#include "crypto/protocol/group.h"

namespace cosigner::ed25519 {

static_assert(ThresholdGroup<Group>);

namespace {

// The neutral element (0, 1): legal between two additions, never outside this file.
constexpr Bytes<kPointSize> kIdentity{{1}};

}  // namespace

std::optional<Point> Point::decode(ByteView bytes) {
  if (bytes.size() != kPointSize || crypto_core_ed25519_is_valid_point(bytes.data()) != 1) {
    return std::nullopt;
  }
  Bytes<kPointSize> copy;
  std::memcpy(copy.data.data(), bytes.data(), kPointSize);
  return Point(copy);
}

std::optional<Point> Group::multiply_base(const SecretScalar& scalar) {
  Bytes<kPointSize> out;
  // Fails for zero only, which has probability 2^-252 for every secret multiplied here.
  if (declassified(
          crypto_scalarmult_ed25519_base_noclamp(out.data.data(), scalar.expose().data())) != 0) {
    return std::nullopt;
  }
  // The product is public: the protocols that are templates on a group send every one of them, or
  // compare it with what was sent.
  declassify(&out, sizeof out);
  return Point(out);
}

std::optional<Point> Group::multiply_base_vartime(const Scalar& scalar) {
  Bytes<kPointSize> out;
  if (crypto_scalarmult_ed25519_base_noclamp(out.data.data(), scalar.view().data()) != 0) {
    return std::nullopt;
  }
  return Point(out);
}

std::optional<Point> Group::multiply_vartime(const Scalar& scalar, const Point& point) {
  return multiply_encoded_vartime(scalar, point.view());
}

std::optional<Point> Group::multiply_encoded_vartime(const Scalar& scalar, ByteView bytes) {
  Bytes<kPointSize> out;
  if (bytes.size() != kPointSize ||
      crypto_scalarmult_ed25519_noclamp(out.data.data(), scalar.view().data(), bytes.data()) != 0) {
    return std::nullopt;
  }
  return Point(out);
}

std::optional<Point> Group::sum(std::span<const Point> points) {
  if (points.empty()) {
    return std::nullopt;
  }
  Bytes<kPointSize> total = points.front().encode();
  for (const Point& point : points.subspan(1)) {
    Bytes<kPointSize> next;
    if (crypto_core_ed25519_add(next.data.data(), total.data.data(), point.view().data()) != 0) {
      return std::nullopt;  // cannot happen: both are on the curve
    }
    total = next;
  }
  if (total == kIdentity) {
    return std::nullopt;
  }
  return Point(total);
}

Point Group::negate(const Point& point) {
  // −(x, y) = (−x, y): the sign bit flips. x is not zero, for only (0, ±1) have that, and neither
  // is a Point.
  Bytes<kPointSize> out = point.encode();
  out.data[kPointSize - 1] ^= 0x80U;
  return Point(out);
}

Scalar Group::challenge(const TaggedHash& hash) {
  std::array<std::uint8_t, 64> wide{};
  hash.expand_into(wide);
  return Scalar::reduce(wide);
}

}  // namespace cosigner::ed25519
