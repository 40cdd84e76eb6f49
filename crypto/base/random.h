#pragma once
// Randomness is handed in, so that a whole cluster can run from one seed.

#include <cstdint>
#include <span>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"

namespace cosigner {

class Random {
 public:
  virtual ~Random() = default;
  /// Fills `out` with uniformly random bytes. Never fails: a system without randomness ends the
  /// process.
  virtual void fill(std::span<std::uint8_t> out) = 0;

  template <class B>
  B bytes() {
    B out;
    fill(out.span());
    return out;
  }
  template <std::size_t N>
  SecretBytes<N> secret() {
    SecretBytes<N> out;
    fill(out.expose_mutable());
    return out;
  }
};

/// The operating system's generator (getrandom through libsodium); fork-safe, since it keeps no
/// state of its own.
class SystemRandom final : public Random {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace cosigner
