#pragma once
// Looks at the host's memory once a second and lets idle workers go while it runs short: an idle
// worker costs nothing but memory, and its user's next request brings it back in milliseconds.

#include <functional>

#include "supervisor/config/config.h"
#include "supervisor/process/host_memory.h"
#include "supervisor/service/clock.h"

namespace cosigner::supervisor {

[[nodiscard]] inline MemoryLimits memory_limits(const WorkerLimits& workers) {
  return {.floor_bytes = workers.memory_floor_bytes,
          .pressure_percent = workers.memory_pressure_percent};
}

class MemoryGuard {
 public:
  struct Outlets {
    std::function<std::size_t()> idle;                      ///< idle workers now
    std::function<std::size_t(std::size_t count)> relieve;  ///< asks so many to go
    /// A shortage begins or ends; `text` says which, and the numbers.
    std::function<void(bool is_short, const std::string& text)> on_change;
  };
  /// `read` is /proc unless a test says otherwise.
  MemoryGuard(
      uv_loop_t* loop, MemoryLimits limits, Outlets outlets,
      std::function<HostMemory()> read = [] { return read_host_memory(); });
  void start() { timer_.start(kEveryMs, kEveryMs); }
  /// From the next look on.
  void set_limits(MemoryLimits limits) { limits_ = limits; }
  /// One look; what the timer does.
  void look();

 private:
  static constexpr std::uint64_t kEveryMs = 1000;

  MemoryLimits limits_;
  Outlets outlets_;
  std::function<HostMemory()> read_;
  bool short_ = false;
  LoopTimer timer_;
};

}  // namespace cosigner::supervisor
