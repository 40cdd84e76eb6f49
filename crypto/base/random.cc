#include "crypto/base/random.h"

#include <sodium.h>

namespace cosigner {

void SystemRandom::fill(std::span<std::uint8_t> out) {
  randombytes_buf(out.data(), out.size());
}

void SeededRandom::fill(std::span<std::uint8_t> out) {
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

std::uint64_t SeededRandom::next_u64() {
  std::uint64_t value = 0;
  fill({reinterpret_cast<std::uint8_t*>(&value), sizeof value});
  return value;
}

}  // namespace cosigner
