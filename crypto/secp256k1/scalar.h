#pragma once
// Scalars modulo q with their secrecy in the type. A Scalar is public: it copies, compares and
// prints. A SecretScalar is move-only, wiped when it goes, and has no operator==. Arithmetic
// between the two gives a SecretScalar. Everything is constant time except what has `vartime` in
// its name.

#include <concepts>
#include <optional>

#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"
#include "crypto/secp256k1/limbs.h"

namespace cosigner::secp256k1 {

/// A public value modulo q; zero is allowed.
class Scalar {
 public:
  Scalar() = default;
  explicit Scalar(const Limbs& limbs) : limbs_(limbs) {}
  [[nodiscard]] static Scalar from_u64(std::uint64_t value) {
    return Scalar(Limbs{{value, 0, 0, 0}});
  }

  /// 32 bytes big endian; nothing for another length or a value of q or more.
  [[nodiscard]] static std::optional<Scalar> decode(ByteView bytes);
  /// 32 or 64 bytes big endian, reduced modulo q.
  [[nodiscard]] static Scalar reduce(ByteView bytes);

  [[nodiscard]] Bytes<32> encode() const;
  [[nodiscard]] bool is_zero() const { return zero_mask(limbs_) != 0; }
  /// More than (q-1)/2: the half of the values that ECDSA's low-s rule excludes.
  [[nodiscard]] bool is_high_vartime() const;
  /// Nothing for zero. 6 µs.
  [[nodiscard]] std::optional<Scalar> inverse_vartime() const;
  [[nodiscard]] const Limbs& limbs() const { return limbs_; }

  friend bool operator==(const Scalar& a, const Scalar& b) { return a.limbs_.v == b.limbs_.v; }

 private:
  Limbs limbs_;
};

/// A secret value modulo q; zero is allowed, since sums of shares may be.
class SecretScalar {
 public:
  SecretScalar() = default;
  explicit SecretScalar(const Limbs& limbs) : limbs_(limbs) {}
  ~SecretScalar() { sodium_memzero(&limbs_, sizeof limbs_); }
  SecretScalar(const SecretScalar&) = delete;
  SecretScalar& operator=(const SecretScalar&) = delete;
  SecretScalar(SecretScalar&& other) noexcept : limbs_(other.limbs_) {
    sodium_memzero(&other.limbs_, sizeof other.limbs_);
  }
  SecretScalar& operator=(SecretScalar&& other) noexcept {
    if (this != &other) {
      limbs_ = other.limbs_;
      sodium_memzero(&other.limbs_, sizeof other.limbs_);
    }
    return *this;
  }

  /// Uniform in 1..q-1 (64 random bytes reduced: bias below 2^-255).
  [[nodiscard]] static SecretScalar random(Random& random);
  /// 32 bytes big endian; nothing for another length or a value of q or more. Whether it was
  /// refused is not hidden.
  [[nodiscard]] static std::optional<SecretScalar> decode(ByteView bytes);
  /// 32 or 64 bytes big endian, reduced modulo q.
  [[nodiscard]] static SecretScalar reduce(ByteView bytes);
  /// A second owner of the same secret, said aloud.
  [[nodiscard]] SecretScalar duplicate() const { return SecretScalar(limbs_); }

  [[nodiscard]] SecretBytes<32> encode() const;
  /// Publishes the value: for sums that the protocol sends in the clear.
  [[nodiscard]] Scalar reveal() const;
  /// Tells whether the value is zero, and only that.
  [[nodiscard]] bool is_zero() const;
  /// All ones when zero, else zero, for masking.
  [[nodiscard]] std::uint64_t zero_mask() const { return secp256k1::zero_mask(limbs_); }
  [[nodiscard]] const Limbs& limbs() const { return limbs_; }

 private:
  Limbs limbs_;
};

template <class S>
concept AnyScalar = std::same_as<S, Scalar> || std::same_as<S, SecretScalar>;
/// The type of a result: public only if both operands are.
template <AnyScalar A, AnyScalar B>
using Joined =
    std::conditional_t<std::same_as<A, Scalar> && std::same_as<B, Scalar>, Scalar, SecretScalar>;

template <AnyScalar A, AnyScalar B>
[[nodiscard]] Joined<A, B> operator+(const A& a, const B& b) {
  return Joined<A, B>(add(a.limbs(), b.limbs()));
}
template <AnyScalar A, AnyScalar B>
[[nodiscard]] Joined<A, B> operator-(const A& a, const B& b) {
  return Joined<A, B>(subtract(a.limbs(), b.limbs()));
}
template <AnyScalar A, AnyScalar B>
[[nodiscard]] Joined<A, B> operator*(const A& a, const B& b) {
  return Joined<A, B>(multiply(a.limbs(), b.limbs()));
}
template <AnyScalar A>
[[nodiscard]] A operator-(const A& a) {
  return A(negate(a.limbs()));
}
/// 1/a; 0 for 0 (the caller excludes it where it matters).
template <AnyScalar A>
[[nodiscard]] A inverse(const A& a) {
  return A(invert(a.limbs()));
}

}  // namespace cosigner::secp256k1
