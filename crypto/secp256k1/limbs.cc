#include "crypto/secp256k1/limbs.h"

namespace cosigner::secp256k1 {

static_assert(std::endian::native == std::endian::little, "limbs are read with a byte swap");

Limbs invert(const Limbs& a) {
  // q - 2, most significant hexadecimal digit first. The exponent is public, so a window indexed
  // by it is constant time.
  std::array<std::uint64_t, 4> exponent = detail::kOrder;
  exponent[0] -= 2;
  std::array<Limbs, 16> powers;
  powers[0] = {{1, 0, 0, 0}};
  for (std::size_t i = 1; i < powers.size(); ++i) {
    powers[i] = multiply(powers[i - 1], a);
  }
  Limbs result = powers[0];
  for (std::size_t digit = 64; digit-- > 0;) {
    for (int i = 0; i < 4; ++i) {
      result = multiply(result, result);
    }
    result = multiply(result, powers[exponent[digit / 16] >> (4 * (digit % 16)) & 15U]);
  }
  sodium_memzero(powers.data(), sizeof powers);
  return result;
}

Limbs limbs_reduced_wide(const std::uint8_t* bytes) {
  std::array<std::uint64_t, 8> value;
  for (std::size_t i = 0; i < 8; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + 8 * (7 - i), 8);
    value[i] = __builtin_bswap64(word);
  }
  const Limbs out = detail::reduce(value);
  sodium_memzero(value.data(), sizeof value);
  return out;
}

std::uint64_t limbs_canonical(const std::uint8_t* bytes, Limbs& out) {
  out = limbs_reduced(bytes);
  std::array<std::uint8_t, 32> again;
  limbs_to_bytes(out, again.data());
  std::uint64_t difference = 0;
  for (std::size_t i = 0; i < again.size(); ++i) {
    difference |= static_cast<std::uint64_t>(again[i] ^ bytes[i]);
  }
  sodium_memzero(again.data(), again.size());
  return detail::value_barrier(((difference | (0 - difference)) >> 63) - 1);
}

}  // namespace cosigner::secp256k1
