#pragma once
// Latencies of a run and their quantiles.

#include <chrono>
#include <cstdint>
#include <map>
#include <vector>

namespace cosigner::ctl {

class Latencies {
 public:
  void add(std::chrono::steady_clock::duration took);
  [[nodiscard]] std::size_t count() const { return microseconds_.size(); }
  /// Nearest rank, in milliseconds; `quantile` in (0, 1]. 0 if there is none.
  [[nodiscard]] double quantile_ms(double quantile) const;
  /// How often each came, in microseconds rounded to three digits: at most 900 of them for each
  /// power of ten, however long the run. Runs can be pooled by it, as by their quantiles they
  /// cannot.
  [[nodiscard]] std::map<std::uint32_t, std::uint64_t> counts() const;

 private:
  mutable std::vector<std::uint32_t> microseconds_;
  mutable bool sorted_ = true;
};

}  // namespace cosigner::ctl
