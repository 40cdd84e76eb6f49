#pragma once
// Shamir polynomials and their Feldman vectors.

#include <cassert>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/protocol/group.h"

namespace cosigner {

/// f(x) = a_0 + a_1·x + … + a_{t−1}·x^{t−1} with secret coefficients, none of them zero.
template <ThresholdGroup Group>
class SecretPolynomial {
 public:
  using SecretScalar = typename Group::SecretScalar;
  using Point = typename Group::Point;

  [[nodiscard]] static SecretPolynomial random(std::size_t terms, Random& random) {
    SecretPolynomial out;
    for (std::size_t k = 0; k < terms; ++k) {
      out.coefficients_.push_back(SecretScalar::random(random));
    }
    return out;
  }
  /// For published test vectors.
  explicit SecretPolynomial(std::vector<SecretScalar> coefficients)
      : coefficients_(std::move(coefficients)) {}

  /// f(x), constant time in the coefficients.
  [[nodiscard]] SecretScalar evaluate(ParticipantIndex x) const {
    const auto point = Group::scalar(x);
    SecretScalar out = coefficients_.back().duplicate();
    for (std::size_t k = coefficients_.size() - 1; k-- > 0;) {
      out = out * point + coefficients_[k];
    }
    return out;
  }
  /// F[k] = a_k·G.
  [[nodiscard]] std::vector<Point> feldman_vector() const {
    std::vector<Point> out;
    out.reserve(coefficients_.size());
    for (const SecretScalar& coefficient : coefficients_) {
      out.push_back(*Group::multiply_base(coefficient));  // not zero, by construction
    }
    return out;
  }
  [[nodiscard]] const std::vector<SecretScalar>& coefficients() const { return coefficients_; }
  void wipe() { coefficients_.clear(); }

 private:
  SecretPolynomial() = default;
  std::vector<SecretScalar> coefficients_;
};

/// F(x) = Σ x^k·F[k]; nothing when that is the identity. `vector` is not empty, x is not zero.
template <ThresholdGroup Group>
[[nodiscard]] std::optional<typename Group::Point> evaluate_vartime(
    std::span<const typename Group::Point> vector, ParticipantIndex x) {
  assert(!vector.empty() && x != 0);
  const auto point = Group::scalar(x);
  auto power = point;
  std::vector<typename Group::Point> terms{vector.front()};
  for (const auto& coefficient : vector.subspan(1)) {
    terms.push_back(*Group::multiply_vartime(power, coefficient));  // the power is not zero
    power = power * point;
  }
  return Group::sum(terms);
}

/// f(x)·G == F(x): the dealer's share for x is the one that its vector promises.
template <ThresholdGroup Group>
[[nodiscard]] bool share_fits_vartime(const typename Group::SecretScalar& share,
                                      std::span<const typename Group::Point> vector,
                                      ParticipantIndex x) {
  return Group::multiply_base(share) == evaluate_vartime<Group>(vector, x);
}

}  // namespace cosigner
