#include "crypto/secp256k1/point.h"

#include <secp256k1_ecdh.h>

#include <cassert>
#include <vector>

#include "crypto/base/declassify.h"
#include "crypto/secp256k1/context.h"

namespace cosigner::secp256k1 {

namespace {

/// secp256k1_ecdh's "hash": hands out both coordinates as they are.
int copy_coordinates(unsigned char* output, const unsigned char* x32, const unsigned char* y32,
                     void* /*data*/) {
  std::memcpy(output, x32, 32);
  std::memcpy(output + 32, y32, 32);
  return 1;
}

}  // namespace

std::optional<Point> Point::decode(ByteView compressed) {
  Point out;
  if (compressed.size() != 33 || (compressed[0] != 2 && compressed[0] != 3) ||
      secp256k1_ec_pubkey_parse(context(), &out.key_, compressed.data(), compressed.size()) != 1) {
    return std::nullopt;
  }
  return out;
}

std::optional<Point> Point::decode_uncompressed(ByteView bytes) {
  Point out;
  if (bytes.size() != 65 || bytes[0] != 4 ||
      secp256k1_ec_pubkey_parse(context(), &out.key_, bytes.data(), bytes.size()) != 1) {
    return std::nullopt;
  }
  return out;
}

std::optional<Point> Point::generator_times(const SecretScalar& k) {
  const SecretBytes<32> bytes = k.encode();
  Point out;
  // Fails for k = 0 only, which has probability 2^-256 for every secret multiplied here.
  const int done =
      declassified(secp256k1_ec_pubkey_create(context(), &out.key_, bytes.expose().data()));
  return done == 1 ? std::optional(out) : std::nullopt;
}

std::optional<Point> Point::generator_times(const Scalar& k) {
  Point out;
  return secp256k1_ec_pubkey_create(context(), &out.key_, k.encode().data.data()) == 1
             ? std::optional(out)
             : std::nullopt;
}

const Point& Point::generator() {
  static const Point shared = *generator_times(Scalar::from_u64(1));
  return shared;
}

std::optional<Point> Point::sum(std::span<const Point> points) {
  if (points.empty()) {
    return std::nullopt;
  }
  std::vector<const secp256k1_pubkey*> keys;
  keys.reserve(points.size());
  for (const Point& point : points) {
    keys.push_back(&point.key_);
  }
  Point out;
  return secp256k1_ec_pubkey_combine(context(), &out.key_, keys.data(), keys.size()) == 1
             ? std::optional(out)
             : std::nullopt;
}

Point Point::select(const Point& a, const Point& b, std::uint8_t mask) {
  Point out;
  for (std::size_t i = 0; i < sizeof out.key_.data; ++i) {
    const unsigned difference = mask & (a.key_.data[i] ^ b.key_.data[i]);
    out.key_.data[i] = static_cast<unsigned char>(a.key_.data[i] ^ difference);
  }
  return out;
}

Bytes<33> Point::encode() const {
  Bytes<33> out;
  std::size_t size = out.data.size();
  secp256k1_ec_pubkey_serialize(context(), out.data.data(), &size, &key_, SECP256K1_EC_COMPRESSED);
  return out;
}

UncompressedPoint Point::uncompressed() const {
  UncompressedPoint out;
  std::size_t size = out.data.size();
  secp256k1_ec_pubkey_serialize(context(), out.data.data(), &size, &key_,
                                SECP256K1_EC_UNCOMPRESSED);
  return out;
}

Point Point::negated() const {
  Point out(key_);
  [[maybe_unused]] const int done = secp256k1_ec_pubkey_negate(context(), &out.key_);
  assert(done == 1);
  return out;
}

std::optional<Point> Point::times_vartime(const Scalar& k) const {
  Point out(key_);
  return secp256k1_ec_pubkey_tweak_mul(context(), &out.key_, k.encode().data.data()) == 1
             ? std::optional(out)
             : std::nullopt;
}

std::optional<Point> Point::plus_generator_times_vartime(const Scalar& k) const {
  Point out(key_);
  return secp256k1_ec_pubkey_tweak_add(context(), &out.key_, k.encode().data.data()) == 1
             ? std::optional(out)
             : std::nullopt;
}

bool operator==(const Point& a, const Point& b) {
  return a.encode() == b.encode();
}

std::optional<SecretPoint> SecretPoint::times(const SecretScalar& k, const Point& point) {
  const SecretBytes<32> bytes = k.encode();
  SecretPoint out;
  // Fails for k = 0 only; see generator_times.
  const int done =
      declassified(secp256k1_ecdh(context(), out.coordinates_.expose_mutable().data(), &point.raw(),
                                  bytes.expose().data(), copy_coordinates, nullptr));
  return done == 1 ? std::optional(std::move(out)) : std::nullopt;
}

SecretBytes<33> SecretPoint::compressed() const {
  SecretBytes<33> out;
  const ByteView xy = coordinates();
  out.expose_mutable()[0] = static_cast<std::uint8_t>(2 + (xy[63] & 1U));
  std::memcpy(out.expose_mutable().data() + 1, xy.data(), 32);
  return out;
}

bool SecretPoint::equals(const Point& other) const {
  const UncompressedPoint encoded = other.uncompressed();
  return constant_time_equal(coordinates(), encoded.view().subspan(1));
}

}  // namespace cosigner::secp256k1
