#pragma once
// So many in each second, no more.

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <map>

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

/// So many a second for each of some users, so that a busy one does not use up what is another's;
/// beyond 64 users in one second the others share one limit.
class PerSecondOfEach {
 public:
  [[nodiscard]] bool take(uid_t user, std::int64_t now_ms, std::uint32_t limit) {
    if (second_ != now_ms / 1000) {
      second_ = now_ms / 1000;
      taken_.clear();
      by_others_ = 0;
    }
    const bool has_own = taken_.size() < kMostUsers || taken_.contains(user);
    return (has_own ? taken_[user] : by_others_)++ < limit;
  }

 private:
  static constexpr std::size_t kMostUsers = 64;

  std::int64_t second_ = -1;
  std::map<uid_t, std::uint32_t> taken_;
  std::uint32_t by_others_ = 0;
};

}  // namespace cosigner::supervisor
