#pragma once
// Latencies of a run and their quantiles.

#include <chrono>
#include <cstdint>
#include <vector>

namespace cosigner::ctl {

class Latencies {
 public:
  void add(std::chrono::steady_clock::duration took);
  [[nodiscard]] std::size_t count() const { return microseconds_.size(); }
  /// Nearest rank, in milliseconds; `quantile` in (0, 1]. 0 if there is none.
  [[nodiscard]] double quantile_ms(double quantile) const;

 private:
  mutable std::vector<std::uint32_t> microseconds_;
  mutable bool sorted_ = true;
};

}  // namespace cosigner::ctl
