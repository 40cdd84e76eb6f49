#pragma once
// Arithmetic modulo q, the order of secp256k1, on four 64-bit limbs (least significant first).
//
// libsecp256k1's public API has no scalars that may be zero, no inverse and no reduction of long
// values, and a multiplication through it costs 66 ns; a random VOLE needs ten thousand of them.
// This is the one place where no library serves. Everything here is constant time: no branch and
// no index depends on a value. Every function takes and returns values below q unless it says so.
//
// Reduction: q = 2^256 - c with a 129-bit c, so x = low + high * 2^256 ≡ low + high * c. Each fold
// shortens x by 127 bits; three folds bring 576 bits to 256 and a carry.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner::secp256k1 {

__extension__ using Uint128 = unsigned __int128;

/// A value modulo q. Trivially copyable, so that arrays of it can be wiped by their allocator;
/// carries no promise about secrecy (Scalar and SecretScalar do).
struct Limbs {
  std::array<std::uint64_t, 4> v{};
};
static_assert(std::is_trivially_copyable_v<Limbs> && sizeof(Limbs) == 32);

/// Wiped when it goes.
using SecretLimbs = std::vector<Limbs, WipingAllocator<Limbs>>;

namespace detail {

inline constexpr std::array<std::uint64_t, 4> kOrder{0xBFD25E8CD0364141, 0xBAAEDCE6AF48A03B,
                                                     0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF};
/// c = 2^256 - q; its third limb is 1.
inline constexpr std::uint64_t kFold0 = 0x402DA1732FC9BEBF;
inline constexpr std::uint64_t kFold1 = 0x4551231950B75FC4;

/// Hides a mask's two possible values from the optimiser, which would otherwise be free to turn
/// the masking back into a branch.
inline std::uint64_t value_barrier(std::uint64_t value) {
  asm("" : "+r"(value));
  return value;
}

/// out = low(4 limbs) + high(H limbs) * c, H + 4 limbs. The caller's bounds keep it from
/// overflowing.
template <std::size_t H>
inline void fold(std::array<std::uint64_t, H + 4>& out, const std::uint64_t* low,
                 const std::uint64_t* high) {
  out = {};
  for (std::size_t i = 0; i < 4; ++i) {
    out[i] = low[i];
  }
#pragma GCC unroll 8
  for (std::size_t i = 0; i < H; ++i) {
    Uint128 t = static_cast<Uint128>(high[i]) * kFold0 + out[i];
    out[i] = static_cast<std::uint64_t>(t);
    t = static_cast<Uint128>(high[i]) * kFold1 + out[i + 1] + static_cast<std::uint64_t>(t >> 64);
    out[i + 1] = static_cast<std::uint64_t>(t);
    t = static_cast<Uint128>(high[i]) + out[i + 2] + static_cast<std::uint64_t>(t >> 64);
    out[i + 2] = static_cast<std::uint64_t>(t);
    std::uint64_t carry = static_cast<std::uint64_t>(t >> 64);
#pragma GCC unroll 8
    for (std::size_t j = i + 3; j < H + 4; ++j) {
      t = static_cast<Uint128>(out[j]) + carry;
      out[j] = static_cast<std::uint64_t>(t);
      carry = static_cast<std::uint64_t>(t >> 64);
    }
  }
}

/// Subtracts q once if `value` (plus `carry` * 2^256) is at least q.
inline Limbs subtract_order_once(const std::uint64_t* value, std::uint64_t carry) {
  Limbs difference;
  std::uint64_t borrow = 0;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const Uint128 t = static_cast<Uint128>(value[i]) - kOrder[i] - borrow;
    difference.v[i] = static_cast<std::uint64_t>(t);
    borrow = static_cast<std::uint64_t>(t >> 64) & 1U;
  }
  const std::uint64_t keep = value_barrier(0 - (borrow & (carry ^ 1U)));  // all ones: value < q
  Limbs out;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    out.v[i] = (value[i] & keep) | (difference.v[i] & ~keep);
  }
  return out;
}

/// Any value of 9 limbs, modulo q.
inline Limbs reduce(const std::array<std::uint64_t, 9>& x) {
  std::array<std::uint64_t, 9> a;  // < 2^256 + 2^449
  fold<5>(a, x.data(), x.data() + 4);
  std::array<std::uint64_t, 8> b;  // < 2^256 + 2^323
  fold<4>(b, a.data(), a.data() + 4);
  std::array<std::uint64_t, 6> c;  // < 2^256 + 2^197
  fold<2>(c, b.data(), b.data() + 4);
  std::array<std::uint64_t, 5> d;  // < 2^256: after a carry the low part was short
  fold<1>(d, c.data(), c.data() + 4);
  return subtract_order_once(d.data(), d[4]);
}

/// Any value of 8 limbs (a product), modulo q: a fold less to do than for 9.
inline Limbs reduce(const std::array<std::uint64_t, 8>& x) {
  std::array<std::uint64_t, 8> a;  // < 2^256 + 2^385
  fold<4>(a, x.data(), x.data() + 4);
  std::array<std::uint64_t, 7> b;  // < 2^256 + 2^259
  fold<3>(b, a.data(), a.data() + 4);
  std::array<std::uint64_t, 5> c;  // < 2^256 + 2^133
  fold<1>(c, b.data(), b.data() + 4);
  std::array<std::uint64_t, 5> d;
  fold<1>(d, c.data(), c.data() + 4);
  return subtract_order_once(d.data(), d[4]);
}

}  // namespace detail

inline Limbs add(const Limbs& a, const Limbs& b) {
  std::array<std::uint64_t, 4> sum;
  std::uint64_t carry = 0;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const Uint128 t = static_cast<Uint128>(a.v[i]) + b.v[i] + carry;
    sum[i] = static_cast<std::uint64_t>(t);
    carry = static_cast<std::uint64_t>(t >> 64);
  }
  return detail::subtract_order_once(sum.data(), carry);
}

inline Limbs subtract(const Limbs& a, const Limbs& b) {
  Limbs out;
  std::uint64_t borrow = 0;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const Uint128 t = static_cast<Uint128>(a.v[i]) - b.v[i] - borrow;
    out.v[i] = static_cast<std::uint64_t>(t);
    borrow = static_cast<std::uint64_t>(t >> 64) & 1U;
  }
  const std::uint64_t mask = detail::value_barrier(0 - borrow);
  std::uint64_t carry = 0;
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    const Uint128 t = static_cast<Uint128>(out.v[i]) + (detail::kOrder[i] & mask) + carry;
    out.v[i] = static_cast<std::uint64_t>(t);
    carry = static_cast<std::uint64_t>(t >> 64);
  }
  return out;
}

inline Limbs negate(const Limbs& a) {
  return subtract(Limbs{}, a);
}

/// All ones when `a` is zero, else zero.
inline std::uint64_t zero_mask(const Limbs& a) {
  const std::uint64_t any = a.v[0] | a.v[1] | a.v[2] | a.v[3];
  return detail::value_barrier(((any | (0 - any)) >> 63) - 1);
}

/// `a` where `mask` is all ones, zero where it is zero.
inline Limbs masked(const Limbs& a, std::uint64_t mask) {
  const std::uint64_t m = detail::value_barrier(mask);
  return {{a.v[0] & m, a.v[1] & m, a.v[2] & m, a.v[3] & m}};
}

/// `a` where `mask` is all ones, `b` where it is zero.
inline Limbs select(std::uint64_t mask, const Limbs& a, const Limbs& b) {
  const std::uint64_t m = detail::value_barrier(mask);
  Limbs out;
  for (std::size_t i = 0; i < 4; ++i) {
    out.v[i] = (a.v[i] & m) | (b.v[i] & ~m);
  }
  return out;
}

/// Σ a·b with one reduction at the end. Holds at most 2^63 products; a sum of a few terms costs
/// about 10 ns a term against 25 for separate multiplications. Wiped when it goes.
class ProductSum {
 public:
  ProductSum() = default;
  ~ProductSum() { sodium_memzero(sum_.data(), sizeof sum_); }
  ProductSum(const ProductSum&) = delete;
  ProductSum& operator=(const ProductSum&) = delete;

  ProductSum& add_product(const Limbs& a, const Limbs& b) {
#pragma GCC unroll 4
    for (std::size_t i = 0; i < 4; ++i) {
      std::uint64_t carry = 0;
#pragma GCC unroll 4
      for (std::size_t j = 0; j < 4; ++j) {
        const Uint128 t = static_cast<Uint128>(a.v[i]) * b.v[j] + sum_[i + j] + carry;
        sum_[i + j] = static_cast<std::uint64_t>(t);
        carry = static_cast<std::uint64_t>(t >> 64);
      }
#pragma GCC unroll 8
      for (std::size_t k = i + 4; k < 9; ++k) {
        const Uint128 t = static_cast<Uint128>(sum_[k]) + carry;
        sum_[k] = static_cast<std::uint64_t>(t);
        carry = static_cast<std::uint64_t>(t >> 64);
      }
    }
    return *this;
  }
  ProductSum& add(const Limbs& a) {
    std::uint64_t carry = 0;
#pragma GCC unroll 16
    for (std::size_t i = 0; i < 9; ++i) {
      const Uint128 t = static_cast<Uint128>(sum_[i]) + (i < 4 ? a.v[i] : 0) + carry;
      sum_[i] = static_cast<std::uint64_t>(t);
      carry = static_cast<std::uint64_t>(t >> 64);
    }
    return *this;
  }
  [[nodiscard]] Limbs reduce() const { return detail::reduce(sum_); }

 private:
  std::array<std::uint64_t, 9> sum_{};
};

inline Limbs multiply(const Limbs& a, const Limbs& b) {
  std::array<std::uint64_t, 8> product{};
#pragma GCC unroll 4
  for (std::size_t i = 0; i < 4; ++i) {
    std::uint64_t carry = 0;
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 4; ++j) {
      const Uint128 t = static_cast<Uint128>(a.v[i]) * b.v[j] + product[i + j] + carry;
      product[i + j] = static_cast<std::uint64_t>(t);
      carry = static_cast<std::uint64_t>(t >> 64);
    }
    product[i + 4] = carry;
  }
  return detail::reduce(product);
}

/// a^(q-2): the inverse, and 0 for 0. 256 squarings and 64 products, about 8 µs.
[[nodiscard]] Limbs invert(const Limbs& a);

/// 32 bytes, big endian, reduced modulo q (one subtraction: 2^256 < 2q).
[[nodiscard]] inline Limbs limbs_reduced(const std::uint8_t* bytes) {
  std::array<std::uint64_t, 4> value;
  for (std::size_t i = 0; i < 4; ++i) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes + 8 * (3 - i), 8);
    value[i] = __builtin_bswap64(word);
  }
  return detail::subtract_order_once(value.data(), 0);
}
/// 64 bytes, big endian, reduced modulo q.
[[nodiscard]] Limbs limbs_reduced_wide(const std::uint8_t* bytes);
/// All ones when the 32 big-endian bytes are below q; `out` gets the value modulo q.
[[nodiscard]] std::uint64_t limbs_canonical(const std::uint8_t* bytes, Limbs& out);

inline void limbs_to_bytes(const Limbs& a, std::uint8_t* out) {
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t word = __builtin_bswap64(a.v[3 - i]);
    std::memcpy(out + 8 * i, &word, 8);
  }
}

}  // namespace cosigner::secp256k1
