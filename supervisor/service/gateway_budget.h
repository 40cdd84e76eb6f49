#pragma once
// What a captured gateway may cost its supervisor and the workers: how often it may say a thing.
// Lines of a log, and states of which only the last matters. Pure.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace cosigner::supervisor {

/// So many in a second of the clock.
class PerSecond {
 public:
  explicit PerSecond(std::uint32_t most) : most_(most) {}
  [[nodiscard]] bool take(std::int64_t now_ms) {
    const std::int64_t second = now_ms / 1000;
    if (second_ != second) {
      second_ = second;
      taken_ = 0;
    }
    return taken_ < most_ && (++taken_, true);
  }

 private:
  std::uint32_t most_;
  std::int64_t second_ = -1;
  std::uint32_t taken_ = 0;
};

/// States by name, of which each may change once in `every_ms`: an early change waits, the last one
/// that waits wins, and one that is taken back is none.
template <class State>
class SettledStates {
 public:
  explicit SettledStates(std::int64_t every_ms) : every_ms_(every_ms) {}

  void want(const std::string& name, State state) { entries_[name].wanted = std::move(state); }
  /// What has changed and may be told now; told to `tell(name, state)`.
  template <class Tell>
  void settle(std::int64_t now_ms, Tell tell) {
    for (auto& [name, entry] : entries_) {
      if (entry.told != entry.wanted && now_ms >= entry.next_ms) {
        entry.told = entry.wanted;
        entry.next_ms = now_ms + every_ms_;
        tell(name, *entry.told);
      }
    }
  }
  /// When settle() has something to do next.
  [[nodiscard]] std::optional<std::int64_t> next() const {
    std::optional<std::int64_t> out;
    for (const auto& [name, entry] : entries_) {
      if (entry.told != entry.wanted && (!out || entry.next_ms < *out)) {
        out = entry.next_ms;
      }
    }
    return out;
  }

 private:
  struct Entry {
    std::optional<State> wanted;
    std::optional<State> told;
    std::int64_t next_ms = 0;
  };
  std::int64_t every_ms_;
  std::map<std::string, Entry> entries_;
};

}  // namespace cosigner::supervisor
