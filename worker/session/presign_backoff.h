#pragma once
// How long a presigner waits before it tries again, by what went wrong.

#include <algorithm>
#include <cstdint>

namespace cosigner::worker {

struct PresignBackoff {
  std::int64_t first_us;
  std::int64_t cap_us;

  /// 1, 2, 4 … times `first_us`, at most `cap_us`.
  [[nodiscard]] constexpr std::int64_t after(std::uint32_t failures) const {
    return std::min(first_us << std::min<std::uint32_t>(failures, 12), cap_us);
  }
};

constexpr PresignBackoff kAfterFailure{.first_us = 200'000, .cap_us = 30'000'000};
constexpr PresignBackoff kAfterFull{.first_us = 50'000, .cap_us = 5'000'000};
/// A client's request comes to all nodes at once.
constexpr PresignBackoff kAfterOrderUnknown{.first_us = 5'000, .cap_us = 500'000};
constexpr PresignBackoff kAfterStranger{.first_us = 50'000, .cap_us = 5'000'000};

}  // namespace cosigner::worker
