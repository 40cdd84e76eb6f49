#include "crypto/dkls23/burn_stack.h"

#include <sodium.h>

#include <array>
#include <cstdint>

namespace cosigner::dkls23 {

[[gnu::noinline, gnu::zero_call_used_regs("all")]] void burn_stack() {
  std::array<std::uint8_t, 65'536> area;
  sodium_memzero(area.data(), area.size());
}

}  // namespace cosigner::dkls23
