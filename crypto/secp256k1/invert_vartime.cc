// Stein's binary algorithm, with all trailing zeros taken off at once. Throughout, x·a ≡ u and
// y·a ≡ v (mod q); u shrinks to zero, and then v = gcd(a, q) = 1.

#include "crypto/secp256k1/invert_vartime.h"

#include <bit>
#include <cassert>
#include <utility>

namespace cosigner::secp256k1 {
namespace {

using Words = std::array<std::uint64_t, 4>;
using detail::kOrder;

/// −1/q mod 2^64, by Newton's iteration: each step doubles the bits that are right, from 3.
consteval std::uint64_t negated_inverse_of_order() {
  std::uint64_t inverse = kOrder[0];
  for (int i = 0; i < 5; ++i) {
    inverse *= 2 - kOrder[0] * inverse;
  }
  return 0 - inverse;
}
constexpr std::uint64_t kNegatedInverse = negated_inverse_of_order();
static_assert(kNegatedInverse * kOrder[0] == UINT64_MAX);

bool less(const Words& a, const Words& b) {
  for (std::size_t i = 4; i-- > 0;) {
    if (a[i] != b[i]) {
      return a[i] < b[i];
    }
  }
  return false;
}

bool is_zero(const Words& a) {
  return (a[0] | a[1] | a[2] | a[3]) == 0;
}

/// a −= b; returns the borrow.
bool subtract(Words& a, const Words& b) {
  std::uint64_t borrow = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const Uint128 difference = static_cast<Uint128>(a[i]) - b[i] - borrow;
    a[i] = static_cast<std::uint64_t>(difference);
    borrow = static_cast<std::uint64_t>(difference >> 64) & 1U;
  }
  return borrow != 0;
}

void subtract_mod_order(Words& a, const Words& b) {
  if (subtract(a, b)) {
    std::uint64_t carry = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const Uint128 sum = static_cast<Uint128>(a[i]) + kOrder[i] + carry;
      a[i] = static_cast<std::uint64_t>(sum);
      carry = static_cast<std::uint64_t>(sum >> 64);
    }
  }
}

/// 1 ≤ bits ≤ 63; `top` comes in from above.
void shift_right(Words& a, unsigned bits, std::uint64_t top = 0) {
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint64_t above = i < 3 ? a[i + 1] : top;
    a[i] = a[i] >> bits | above << (64 - bits);
  }
}

/// x / 2^bits mod q: the multiple of q that makes the low bits zero is added first. With x < q the
/// sum is below 2^bits·q + q, so that one subtraction at most remains.
void halve_mod_order(Words& x, unsigned bits) {
  const std::uint64_t multiple = (x[0] * kNegatedInverse) & ((std::uint64_t{1} << bits) - 1);
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    const Uint128 sum = static_cast<Uint128>(multiple) * kOrder[i] + x[i] + carry;
    x[i] = static_cast<std::uint64_t>(sum);
    carry = static_cast<std::uint64_t>(sum >> 64);
  }
  shift_right(x, bits, carry);
  if (carry >> bits != 0 || !less(x, kOrder)) {
    subtract(x, kOrder);
  }
}

}  // namespace

Limbs invert_vartime(const Limbs& a) {
  assert(!is_zero(a.v));
  Words u = a.v;
  Words v = kOrder;
  Words x{1, 0, 0, 0};
  Words y{};
  while (!is_zero(u)) {
    while ((u[0] & 1U) == 0) {
      // A low word of zero has more than 63 zeros: the rest goes with the next turn.
      const unsigned bits = u[0] == 0 ? 63U : static_cast<unsigned>(std::countr_zero(u[0]));
      shift_right(u, bits);
      halve_mod_order(x, bits);
    }
    if (less(u, v)) {
      std::swap(u, v);
      std::swap(x, y);
    }
    subtract(u, v);
    subtract_mod_order(x, y);
  }
  return {y};
}

}  // namespace cosigner::secp256k1
