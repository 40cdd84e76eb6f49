#pragma once
// Randomness from a seed, so that a whole cluster in one process runs the same way each time.

#include <sodium.h>

#include <array>
#include <cstring>

#include "crypto/base/random.h"

namespace cosigner {

/// ChaCha20 keystream of a 64-bit seed.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) : seed_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    if (out.empty()) {
      return;  // libsodium's pointers must not be null, not even for nothing
    }
    std::array<std::uint8_t, crypto_stream_chacha20_KEYBYTES> key{};
    std::array<std::uint8_t, crypto_stream_chacha20_NONCEBYTES> nonce{};
    std::memcpy(key.data(), &seed_, sizeof seed_);
    std::memcpy(nonce.data(), &counter_, sizeof counter_);
    ++counter_;
    crypto_stream_chacha20(out.data(), out.size(), nonce.data(), key.data());
  }
  std::uint64_t next_u64() {
    std::uint64_t value = 0;
    fill({reinterpret_cast<std::uint8_t*>(&value), sizeof value});
    return value;
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace cosigner
