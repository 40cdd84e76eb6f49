#pragma once
// Keeps a worker from drowning its supervisor's log: bursts of `burst` lines, `per_second` on
// average; what is held back is counted and told with the next line that passes.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

namespace cosigner::worker {

class LogLimit {
 public:
  explicit LogLimit(double per_second = 20, double burst = 200)
      : per_second_(per_second), burst_(burst), tokens_(burst) {}

  /// Nothing if the line must be held back; else how many were before it.
  std::optional<std::uint64_t> admit(std::int64_t now_us) {
    const double elapsed_s = static_cast<double>(now_us - last_us_) / 1e6;
    tokens_ = std::min(burst_, tokens_ + std::max(0.0, elapsed_s) * per_second_);
    last_us_ = now_us;
    if (tokens_ < 1) {
      ++held_;
      return std::nullopt;
    }
    tokens_ -= 1;
    return std::exchange(held_, 0);
  }

 private:
  double per_second_;
  double burst_;
  double tokens_;
  std::int64_t last_us_ = 0;
  std::uint64_t held_ = 0;
};

}  // namespace cosigner::worker
