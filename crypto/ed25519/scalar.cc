#include "crypto/ed25519/scalar.h"

#include <sodium.h>

#include "crypto/base/declassify.h"

namespace cosigner::ed25519 {
namespace {

// libsodium 1.0.18 has no canonicity test: reduce, and compare with the input in constant time.
bool is_reduced(const std::uint8_t* bytes) {
  SecretBytes<64> wide;
  std::memcpy(wide.expose_mutable().data(), bytes, kScalarSize);
  SecretBytes<kScalarSize> reduced;
  crypto_core_ed25519_scalar_reduce(reduced.expose_mutable().data(), wide.expose().data());
  // Only this verdict is observable, and every stored or dealt share that is honest passes.
  return declassified(sodium_memcmp(reduced.expose().data(), bytes, kScalarSize)) == 0;
}

}  // namespace

Scalar Scalar::from_u64(std::uint64_t value) {
  Scalar out;
  for (std::size_t i = 0; i < sizeof value; ++i) {
    out.bytes_.data[i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
  return out;
}

std::optional<Scalar> Scalar::decode(ByteView bytes) {
  if (bytes.size() != kScalarSize || !is_reduced(bytes.data())) {
    return std::nullopt;
  }
  Scalar out;
  std::memcpy(out.bytes_.data.data(), bytes.data(), kScalarSize);
  return out;
}

Scalar Scalar::reduce(std::span<const std::uint8_t, 64> wide) {
  Scalar out;
  crypto_core_ed25519_scalar_reduce(out.bytes_.data.data(), wide.data());
  return out;
}

std::optional<Scalar> Scalar::inverse_vartime() const {
  Scalar out;
  if (crypto_core_ed25519_scalar_invert(out.bytes_.data.data(), bytes_.data.data()) != 0) {
    return std::nullopt;
  }
  return out;
}

Scalar operator+(const Scalar& a, const Scalar& b) {
  Scalar out;
  crypto_core_ed25519_scalar_add(out.bytes_.data.data(), a.bytes_.data.data(),
                                 b.bytes_.data.data());
  return out;
}
Scalar operator-(const Scalar& a, const Scalar& b) {
  Scalar out;
  crypto_core_ed25519_scalar_sub(out.bytes_.data.data(), a.bytes_.data.data(),
                                 b.bytes_.data.data());
  return out;
}
Scalar operator*(const Scalar& a, const Scalar& b) {
  Scalar out;
  crypto_core_ed25519_scalar_mul(out.bytes_.data.data(), a.bytes_.data.data(),
                                 b.bytes_.data.data());
  return out;
}
Scalar operator-(const Scalar& a) {
  Scalar out;
  crypto_core_ed25519_scalar_negate(out.bytes_.data.data(), a.bytes_.data.data());
  return out;
}

SecretScalar SecretScalar::random(Random& random) {
  SecretScalar out;
  do {  // zero comes up with probability 2^-252
    const SecretBytes<64> wide = random.secret<64>();
    out = reduce(wide.expose().first<64>());
  } while (out.is_zero());
  return out;
}

std::optional<SecretScalar> SecretScalar::decode(ByteView bytes) {
  if (bytes.size() != kScalarSize || !is_reduced(bytes.data())) {
    return std::nullopt;
  }
  SecretScalar out;
  std::memcpy(out.bytes_.expose_mutable().data(), bytes.data(), kScalarSize);
  return out;
}

SecretScalar SecretScalar::reduce(std::span<const std::uint8_t, 64> wide) {
  SecretScalar out;
  crypto_core_ed25519_scalar_reduce(out.bytes_.expose_mutable().data(), wide.data());
  return out;
}

SecretScalar SecretScalar::from(const Scalar& value) {
  SecretScalar out;
  std::memcpy(out.bytes_.expose_mutable().data(), value.bytes_.data.data(), kScalarSize);
  return out;
}

SecretScalar SecretScalar::duplicate() const {
  SecretScalar out;
  out.bytes_ = bytes_.duplicate();
  return out;
}

bool SecretScalar::is_zero() const {
  return declassified(sodium_is_zero(bytes_.expose().data(), kScalarSize)) == 1;
}

Scalar SecretScalar::reveal() const {
  Scalar out;
  std::memcpy(out.bytes_.data.data(), bytes_.expose().data(), kScalarSize);
  declassify(&out, sizeof out);
  return out;
}

SecretScalar operator+(const SecretScalar& a, const SecretScalar& b) {
  SecretScalar out;
  crypto_core_ed25519_scalar_add(out.bytes_.expose_mutable().data(), a.expose().data(),
                                 b.expose().data());
  return out;
}
SecretScalar operator+(const SecretScalar& a, const Scalar& b) {
  SecretScalar out;
  crypto_core_ed25519_scalar_add(out.bytes_.expose_mutable().data(), a.expose().data(),
                                 b.view().data());
  return out;
}
SecretScalar operator*(const SecretScalar& a, const SecretScalar& b) {
  SecretScalar out;
  crypto_core_ed25519_scalar_mul(out.bytes_.expose_mutable().data(), a.expose().data(),
                                 b.expose().data());
  return out;
}
SecretScalar operator*(const SecretScalar& a, const Scalar& b) {
  SecretScalar out;
  crypto_core_ed25519_scalar_mul(out.bytes_.expose_mutable().data(), a.expose().data(),
                                 b.view().data());
  return out;
}
SecretScalar operator-(const SecretScalar& a) {
  SecretScalar out;
  crypto_core_ed25519_scalar_negate(out.bytes_.expose_mutable().data(), a.expose().data());
  return out;
}

}  // namespace cosigner::ed25519
