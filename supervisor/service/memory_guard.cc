#include "supervisor/service/memory_guard.h"

#include <utility>

namespace cosigner::supervisor {
namespace {

std::string numbers(const HostMemory& memory) {
  std::string out;
  if (memory.available_bytes) {
    out += std::to_string(*memory.available_bytes >> 20) + " MiB available";
  }
  if (memory.pressure_percent) {
    out += (out.empty() ? "" : ", ") + std::to_string(static_cast<int>(*memory.pressure_percent)) +
           " % of the time stalled";
  }
  return out;
}

}  // namespace

MemoryGuard::MemoryGuard(uv_loop_t* loop, MemoryLimits limits, Outlets outlets,
                         std::function<HostMemory()> read)
    : limits_(limits),
      outlets_(std::move(outlets)),
      read_(std::move(read)),
      timer_(loop, [this] { look(); }) {}

void MemoryGuard::look() {
  const std::size_t idle = outlets_.idle();
  if (idle == 0 && !short_) {
    return;  // nobody could be asked
  }
  const HostMemory memory = read_();
  const bool now_short = short_of_memory(memory, limits_);
  if (now_short != std::exchange(short_, now_short)) {
    outlets_.on_change(now_short, (now_short ? "memory runs short: " : "memory is enough again: ") +
                                      numbers(memory));
  }
  if (now_short) {
    outlets_.relieve(workers_to_relieve(idle));
  }
}

}  // namespace cosigner::supervisor
