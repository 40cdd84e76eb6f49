#pragma once
// So many in each second, no more.

#include <cstdint>

namespace cosigner::supervisor {

/// Log lines that are taken from one process, a worker or a gateway.
constexpr std::uint32_t kLogLinesPerSecond = 50;

class PerSecond {
 public:
  /// False: this second has had its `limit`.
  [[nodiscard]] bool take(std::int64_t now_ms, std::uint32_t limit) {
    if (second_ != now_ms / 1000) {
      second_ = now_ms / 1000;
      taken_ = 0;
    }
    return taken_++ < limit;
  }

 private:
  std::int64_t second_ = -1;
  std::uint32_t taken_ = 0;
};

}  // namespace cosigner::supervisor
