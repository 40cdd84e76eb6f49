#include "crypto/base/random.h"

#include <sodium.h>

namespace cosigner {

void SystemRandom::fill(std::span<std::uint8_t> out) {
  randombytes_buf(out.data(), out.size());
}

}  // namespace cosigner
