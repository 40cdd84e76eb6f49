#include "crypto/dkls23/gf128.h"

#ifdef __x86_64__
#include <immintrin.h>
#endif

namespace cosigner::dkls23 {

namespace {

/// 256 bits to 128: x^128 = x^7 + x^2 + x + 1, folded twice.
Block reduce(std::uint64_t w0, std::uint64_t w1, std::uint64_t w2, std::uint64_t w3) {
  // Fold w3 (x^192 …) into w1 and w2.
  w1 ^= w3 ^ (w3 << 1) ^ (w3 << 2) ^ (w3 << 7);
  w2 ^= (w3 >> 63) ^ (w3 >> 62) ^ (w3 >> 57);
  // Fold w2 (x^128 …) into w0 and w1.
  w0 ^= w2 ^ (w2 << 1) ^ (w2 << 2) ^ (w2 << 7);
  w1 ^= (w2 >> 63) ^ (w2 >> 62) ^ (w2 >> 57);
  return {w0, w1};
}

/// a·b as polynomials, 64 by 64 bits; masks instead of branches.
void multiply_portable(std::uint64_t a, std::uint64_t b, std::uint64_t& low, std::uint64_t& high) {
  for (unsigned i = 0; i < 64; ++i) {
    const std::uint64_t mask = word_mask((b >> i) & 1U);
    low ^= (a << i) & mask;
    high ^= (i == 0 ? 0 : a >> (64 - i)) & mask;
  }
}

#ifdef __x86_64__
__attribute__((target("pclmul"))) Block linear_check_clmul(const Challenges& challenges,
                                                           const RowBlocks& row) {
  __m128i low = _mm_setzero_si128();
  __m128i middle = _mm_setzero_si128();
  __m128i high = _mm_setzero_si128();
  for (std::size_t m = 0; m < kCheckBlocks; ++m) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&challenges[m]));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&row.blocks[m]));
    low = _mm_xor_si128(low, _mm_clmulepi64_si128(a, b, 0x00));
    middle = _mm_xor_si128(middle, _mm_clmulepi64_si128(a, b, 0x01));
    middle = _mm_xor_si128(middle, _mm_clmulepi64_si128(a, b, 0x10));
    high = _mm_xor_si128(high, _mm_clmulepi64_si128(a, b, 0x11));
  }
  std::array<std::uint64_t, 2> l;
  std::array<std::uint64_t, 2> mid;
  std::array<std::uint64_t, 2> h;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(l.data()), low);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(mid.data()), middle);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(h.data()), high);
  return reduce(l[0], l[1] ^ mid[0], h[0] ^ mid[1], h[1]) ^ row.tail;
}
#endif

/// 8 rows of 8 bits, row i in byte i, to 8 columns (Hacker's Delight, 7-3).
std::uint64_t transpose8(std::uint64_t x) {
  std::uint64_t t = (x ^ (x >> 7)) & 0x00AA00AA00AA00AA;
  x ^= t ^ (t << 7);
  t = (x ^ (x >> 14)) & 0x0000CCCC0000CCCC;
  x ^= t ^ (t << 14);
  t = (x ^ (x >> 28)) & 0x00000000F0F0F0F0;
  return x ^ t ^ (t << 28);
}

}  // namespace

RowBlocks RowBlocks::load(const std::uint8_t* row) {
  RowBlocks out;
  std::array<std::uint8_t, kCheckBlocks * 16> padded{};
  std::memcpy(padded.data(), row, kOtCount / 8);
  for (std::size_t m = 0; m < kCheckBlocks; ++m) {
    out.blocks[m] = Block::load(padded.data() + 16 * m);
  }
  out.tail = Block::load(row + kOtCount / 8);
  return out;
}

Block linear_check_portable(const Challenges& challenges, const RowBlocks& row) {
  std::array<std::uint64_t, 4> sum{};
  for (std::size_t m = 0; m < kCheckBlocks; ++m) {
    const Block a = challenges[m];
    const Block b = row.blocks[m];
    multiply_portable(a.low, b.low, sum[0], sum[1]);
    multiply_portable(a.low, b.high, sum[1], sum[2]);
    multiply_portable(a.high, b.low, sum[1], sum[2]);
    multiply_portable(a.high, b.high, sum[2], sum[3]);
  }
  return reduce(sum[0], sum[1], sum[2], sum[3]) ^ row.tail;
}

Block linear_check(const Challenges& challenges, const RowBlocks& row) {
#ifdef __x86_64__
  static const bool has_clmul = __builtin_cpu_supports("pclmul") != 0;
  if (has_clmul) {
    return linear_check_clmul(challenges, row);
  }
#endif
  return linear_check_portable(challenges, row);
}

void transpose_columns(const std::uint8_t* rows, std::size_t row_stride, std::uint8_t* out) {
  for (std::size_t r = 0; r < kLambda / 8; ++r) {
    for (std::size_t c = 0; c < kOtCount / 8; ++c) {
      std::uint64_t square = 0;
      for (std::size_t i = 0; i < 8; ++i) {
        square |= static_cast<std::uint64_t>(rows[(8 * r + i) * row_stride + c]) << (8 * i);
      }
      square = transpose8(square);
      for (std::size_t i = 0; i < 8; ++i) {
        out[(8 * c + i) * kColumnBytes + r] = static_cast<std::uint8_t>(square >> (8 * i));
      }
    }
  }
}

}  // namespace cosigner::dkls23
