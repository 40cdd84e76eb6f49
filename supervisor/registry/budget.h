#pragma once
// How often something may die before it is left alone: the first death in a window costs nothing,
// each further one doubles a delay (with jitter, so that many that fall together do not rise
// together), and `max_restarts` of them in one window ask for quarantine. Pure.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "crypto/base/random.h"

namespace cosigner::supervisor {

struct BudgetLimits {
  std::uint32_t max_restarts = 5;
  std::int64_t window_ms = 60'000;
  std::int64_t backoff_first_ms = 100;
  std::int64_t backoff_cap_ms = 10'000;
};

class RestartBudget {
 public:
  /// Notes a death and returns the delay before the next start: 0 for the first in the window.
  std::int64_t note_death(const BudgetLimits& limits, std::int64_t now_ms, Random& random) {
    forget(limits, now_ms);
    deaths_.push_back(now_ms);
    if (deaths_.size() > limits.max_restarts) {
      deaths_.erase(deaths_.begin());  // bounded: more than the limit says nothing new
    }
    if (deaths_.size() < 2) {
      return 0;
    }
    const std::size_t doublings = std::min<std::size_t>(deaths_.size() - 2, 30);
    const std::int64_t full = std::min(limits.backoff_cap_ms, limits.backoff_first_ms << doublings);
    // Between half and the whole of it.
    const std::int64_t half = full / 2;
    const auto roll = random.bytes<Bytes<8>>();
    std::uint64_t value = 0;
    std::memcpy(&value, roll.data.data(), sizeof value);
    return full - half + static_cast<std::int64_t>(value % (static_cast<std::uint64_t>(half) + 1));
  }
  /// True when the last window holds as many deaths as are allowed.
  [[nodiscard]] bool exhausted(const BudgetLimits& limits, std::int64_t now_ms) {
    forget(limits, now_ms);
    return deaths_.size() >= limits.max_restarts;
  }
  bool empty(const BudgetLimits& limits, std::int64_t now_ms) {
    forget(limits, now_ms);
    return deaths_.empty();
  }
  /// When the last death leaves the window; requires one.
  [[nodiscard]] std::int64_t forgotten_at(const BudgetLimits& limits) const {
    return deaths_.back() + limits.window_ms;
  }
  [[nodiscard]] bool has_deaths() const { return !deaths_.empty(); }
  void clear() { deaths_.clear(); }

 private:
  void forget(const BudgetLimits& limits, std::int64_t now_ms) {
    std::erase_if(deaths_, [&](std::int64_t at) { return at + limits.window_ms <= now_ms; });
  }
  std::vector<std::int64_t> deaths_;  ///< oldest first
};

}  // namespace cosigner::supervisor
