#include "crypto/base/burn_stack.h"

#include <sodium.h>

#include <array>
#include <cstdint>

namespace cosigner {

[[gnu::noinline, gnu::zero_call_used_regs("all")]] void burn_stack() {
  std::array<std::uint8_t, 65'536> area;
  sodium_memzero(area.data(), area.size());
}

}  // namespace cosigner
