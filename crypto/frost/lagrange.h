#pragma once
// Lagrange coefficients at zero: λ_i = Π_{j ∈ S, j ≠ i} j / (j − i).

#include <array>
#include <cassert>
#include <span>

#include "crypto/base/abort.h"
#include "crypto/protocol/group.h"

namespace cosigner {

/// 1/1 … 1/31 in the scalar field, by one inversion (Montgomery's trick) at first use. With indices
/// up to 32 no coefficient then needs an inversion of its own, which would cost as much (18 µs) as
/// two base multiplications.
template <ThresholdGroup Group>
const std::array<typename Group::Scalar, 32>& small_inverses() {
  static const auto table = [] {
    using Scalar = typename Group::Scalar;
    std::array<Scalar, 32> factorials{};
    factorials[0] = Group::scalar(1);
    for (std::size_t k = 1; k < factorials.size(); ++k) {
      factorials[k] = factorials[k - 1] * Group::scalar(k);
    }
    std::array<Scalar, 32> out{};
    Scalar inverse = *Group::inverse_vartime(factorials.back());  // 1/31!
    for (std::size_t k = out.size() - 1; k > 0; --k) {
      out[k] = inverse * factorials[k - 1];
      inverse = inverse * Group::scalar(k);
    }
    return out;
  }();
  return table;
}

/// λ_i over `set` (distinct indices above zero that include i). Public data.
template <ThresholdGroup Group>
typename Group::Scalar lagrange_vartime(std::span<const ParticipantIndex> set, ParticipantIndex i) {
  using Scalar = typename Group::Scalar;
  const auto& inverses = small_inverses<Group>();
  Scalar out = Group::scalar(1);
  Scalar large = Group::scalar(1);  // differences that the table does not hold
  bool has_large = false;
  for (const ParticipantIndex j : set) {
    if (j == i) {
      continue;
    }
    out = out * Group::scalar(j);
    if (j < i) {
      out = -out;
    }
    const std::size_t distance = j > i ? j - i : i - j;
    if (distance < inverses.size()) {
      out = out * inverses[distance];
    } else {
      large = large * Group::scalar(distance);
      has_large = true;
    }
  }
  if (has_large) {
    out = out * *Group::inverse_vartime(large);  // not zero: indices are below the order
  }
  return out;
}

}  // namespace cosigner
