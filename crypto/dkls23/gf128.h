#pragma once
// GF(2^128) as polynomials modulo x^128 + x^7 + x^2 + x + 1, bit 0 of a little-endian Block being
// the coefficient of x^0 (not GHASH's reflected order). One operation is all the OT extension's
// check needs: Σ χ_m·block_m ⊕ tail, with one reduction.

#include <array>
#include <span>

#include "crypto/dkls23/parameters.h"

namespace cosigner::dkls23 {

using Challenges = std::array<Block, kCheckBlocks>;

/// A row of ξ' bits as field elements: M blocks of the first ξ bits (the last zero-extended) and
/// the tail of S bits.
struct RowBlocks {
  std::array<Block, kCheckBlocks> blocks;
  Block tail;
  static RowBlocks load(const std::uint8_t* row);
};

/// Σ χ_m·block_m ⊕ tail. Constant time; uses the processor's carry-less multiplication where it has
/// one.
[[nodiscard]] Block linear_check(const Challenges& challenges, const RowBlocks& row);
/// The same without special instructions; for processors that lack them, and tests.
[[nodiscard]] Block linear_check_portable(const Challenges& challenges, const RowBlocks& row);

/// rows[i] (128 of them, `row_stride` bytes apart) as the rows of a bit matrix; column j < ξ comes
/// out as 16 bytes at out + 16·j, bit i from row i.
void transpose_columns(const std::uint8_t* rows, std::size_t row_stride, std::uint8_t* out);

}  // namespace cosigner::dkls23
