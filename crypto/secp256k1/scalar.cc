#include "crypto/secp256k1/scalar.h"

#include <cassert>

#include "crypto/base/declassify.h"
#include "crypto/secp256k1/invert_vartime.h"

namespace cosigner::secp256k1 {

namespace {

Limbs reduce_any(ByteView bytes) {
  assert(bytes.size() == 32 || bytes.size() == 64);
  return bytes.size() == 32 ? limbs_reduced(bytes.data()) : limbs_reduced_wide(bytes.data());
}

}  // namespace

std::optional<Scalar> Scalar::decode(ByteView bytes) {
  Limbs limbs;
  if (bytes.size() != 32 || limbs_canonical(bytes.data(), limbs) == 0) {
    return std::nullopt;
  }
  return Scalar(limbs);
}

Scalar Scalar::reduce(ByteView bytes) {
  return Scalar(reduce_any(bytes));
}

Bytes<32> Scalar::encode() const {
  Bytes<32> out;
  limbs_to_bytes(limbs_, out.data.data());
  return out;
}

bool Scalar::is_high_vartime() const {
  // (q-1)/2, most significant limb first.
  constexpr std::array<std::uint64_t, 4> kHalf{0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF,
                                               0x5D576E7357A4501D, 0xDFE92F46681B20A0};
  for (std::size_t i = 0; i < 4; ++i) {
    if (limbs_.v[3 - i] != kHalf[i]) {
      return limbs_.v[3 - i] > kHalf[i];
    }
  }
  return false;
}

std::optional<Scalar> Scalar::inverse_vartime() const {
  return is_zero() ? std::nullopt : std::optional(Scalar(invert_vartime(limbs_)));
}

SecretScalar SecretScalar::random(Random& random) {
  for (;;) {
    const SecretBytes<64> bytes = random.secret<64>();
    SecretScalar out = reduce(bytes.expose());
    if (!out.is_zero()) {  // once in 2^256 draws, so the branch tells nothing
      return out;
    }
  }
}

std::optional<SecretScalar> SecretScalar::decode(ByteView bytes) {
  SecretScalar out;
  // That a peer's or the store's encoding is out of range is no secret; which value is in range,
  // is.
  if (bytes.size() != 32 || declassified(limbs_canonical(bytes.data(), out.limbs_)) == 0) {
    return std::nullopt;
  }
  return out;
}

bool SecretScalar::is_zero() const {
  return declassified(zero_mask()) != 0;
}

Scalar SecretScalar::reveal() const {
  Limbs out = limbs_;
  declassify(&out, sizeof out);
  return Scalar(out);
}

SecretScalar SecretScalar::reduce(ByteView bytes) {
  return SecretScalar(reduce_any(bytes));
}

SecretBytes<32> SecretScalar::encode() const {
  SecretBytes<32> out;
  limbs_to_bytes(limbs_, out.expose_mutable().data());
  return out;
}

}  // namespace cosigner::secp256k1
