#include "supervisor/ctl/latency.h"

#include <algorithm>
#include <cmath>

namespace cosigner::ctl {

void Latencies::add(std::chrono::steady_clock::duration took) {
  const auto value = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  microseconds_.push_back(
      static_cast<std::uint32_t>(std::clamp<std::int64_t>(value, 0, UINT32_MAX)));
  sorted_ = false;
}

double Latencies::quantile_ms(double quantile) const {
  if (microseconds_.empty()) {
    return 0;
  }
  if (!sorted_) {
    std::ranges::sort(microseconds_);
    sorted_ = true;
  }
  const auto rank =
      static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(microseconds_.size())));
  return microseconds_[std::clamp<std::size_t>(rank, 1, microseconds_.size()) - 1] / 1000.0;
}

std::map<std::uint32_t, std::uint64_t> Latencies::counts() const {
  std::map<std::uint32_t, std::uint64_t> out;
  for (const std::uint32_t exact : microseconds_) {
    std::uint64_t step = 1;
    while (exact / step >= 1000) {
      step *= 10;
    }
    const std::uint64_t rounded = (exact + step / 2) / step * step;
    ++out[static_cast<std::uint32_t>(std::min<std::uint64_t>(rounded, UINT32_MAX))];
  }
  return out;
}

}  // namespace cosigner::ctl
