#pragma once
// The buckets of every duration histogram, here because workers count and the supervisor exposes.
// packaging/monitoring/metrics.md promises them.

#include <algorithm>
#include <array>
#include <cstdint>

namespace cosigner::ipc {

/// Upper ends in microseconds, each counted as within; the last bucket, of all that took longer,
/// has none.
inline constexpr std::array<std::uint64_t, 15> kDurationBucketEndsUs = {
    500,     1'000,   2'500,     5'000,     10'000,    25'000,     50'000,    100'000,
    250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000, 30'000'000};
inline constexpr std::size_t kDurationBuckets = kDurationBucketEndsUs.size() + 1;

[[nodiscard]] inline std::size_t duration_bucket(std::uint64_t microseconds) {
  return static_cast<std::size_t>(std::ranges::lower_bound(kDurationBucketEndsUs, microseconds) -
                                  kDurationBucketEndsUs.begin());
}

}  // namespace cosigner::ipc
