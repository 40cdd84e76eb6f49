#pragma once
// In microseconds, as the session engine counts.

#include <cstdint>

namespace cosigner::test {

inline constexpr std::int64_t kMs = 1000;
inline constexpr std::int64_t kSecond = 1'000'000;

}  // namespace cosigner::test
