#pragma once
// The time of day, for tests with real processes.

#include <chrono>
#include <cstdint>

namespace cosigner::test {

inline std::uint64_t wall_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}
inline std::uint64_t wall_seconds() {
  return wall_ms() / 1000;
}

}  // namespace cosigner::test
