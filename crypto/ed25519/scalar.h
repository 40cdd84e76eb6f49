#pragma once
// Integers modulo the order L = 2^252 + 27742317777372353535851937790883648493 of the Ed25519
// group, little-endian on the wire, over libsodium's constant-time scalar arithmetic (60 ns an
// operation).

#include <cstdint>
#include <optional>

#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"

namespace cosigner::ed25519 {

inline constexpr std::size_t kScalarSize = 32;

/// A public scalar, always reduced.
class Scalar {
 public:
  Scalar() = default;  ///< zero
  static Scalar from_u64(std::uint64_t value);
  /// 32 bytes little endian; nothing for any other length or a value ≥ L.
  [[nodiscard]] static std::optional<Scalar> decode(ByteView bytes);
  /// The 64 little-endian bytes of a wide hash, reduced mod L.
  [[nodiscard]] static Scalar reduce(std::span<const std::uint8_t, 64> wide);

  [[nodiscard]] Bytes<kScalarSize> encode() const { return bytes_; }
  [[nodiscard]] ByteView view() const { return bytes_.view(); }
  [[nodiscard]] bool is_zero() const { return *this == Scalar(); }
  /// Nothing for zero. 18 µs.
  [[nodiscard]] std::optional<Scalar> inverse_vartime() const;

  friend Scalar operator+(const Scalar& a, const Scalar& b);
  friend Scalar operator-(const Scalar& a, const Scalar& b);
  friend Scalar operator*(const Scalar& a, const Scalar& b);
  friend Scalar operator-(const Scalar& a);
  friend bool operator==(const Scalar&, const Scalar&) = default;

 private:
  friend class SecretScalar;
  Bytes<kScalarSize> bytes_;
};

/// A secret scalar: move-only, wiped, constant time throughout. There is no operator==.
class SecretScalar {
 public:
  SecretScalar() = default;  ///< zero
  /// Uniform in 1 … L−1 (512 random bits, reduced).
  [[nodiscard]] static SecretScalar random(Random& random);
  /// Nothing for a wrong length or a value ≥ L; only that verdict is observable.
  [[nodiscard]] static std::optional<SecretScalar> decode(ByteView bytes);
  [[nodiscard]] static SecretScalar reduce(std::span<const std::uint8_t, 64> wide);
  [[nodiscard]] static SecretScalar from(const Scalar& value);

  [[nodiscard]] SecretBytes<kScalarSize> encode() const { return bytes_.duplicate(); }
  [[nodiscard]] ByteView expose() const { return bytes_.expose(); }
  [[nodiscard]] SecretScalar duplicate() const;
  [[nodiscard]] bool is_zero() const;
  /// Declassifies: from here on the value is public (a signature share, a proof's response).
  [[nodiscard]] Scalar reveal() const;
  void wipe() { bytes_.wipe(); }

  friend SecretScalar operator+(const SecretScalar& a, const SecretScalar& b);
  friend SecretScalar operator+(const SecretScalar& a, const Scalar& b);
  friend SecretScalar operator*(const SecretScalar& a, const SecretScalar& b);
  friend SecretScalar operator*(const SecretScalar& a, const Scalar& b);
  friend SecretScalar operator-(const SecretScalar& a);

 private:
  SecretBytes<kScalarSize> bytes_;
};

}  // namespace cosigner::ed25519
