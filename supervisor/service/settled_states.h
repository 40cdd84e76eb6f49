#pragma once
// States of which only the last matters, told no oftener than somebody else can bear: a captured
// gateway that toggles a peer's presence must not fill every worker's socket. Pure.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>

namespace cosigner::supervisor {

/// States by name. Each may change `burst` times at once and then once in `every_ms`: an early
/// change waits, the last one that waits wins, and one that is taken back is none.
template <class State>
class SettledStates {
 public:
  SettledStates(std::int64_t every_ms, std::int64_t burst) : every_ms_(every_ms), burst_(burst) {}

  void want(const std::string& name, State state) { entries_[name].wanted = std::move(state); }
  /// What has changed and may be told now; told to `tell(name, state)`.
  template <class Tell>
  void settle(std::int64_t now_ms, Tell tell) {
    for (auto& [name, entry] : entries_) {
      if (entry.told != entry.wanted && now_ms >= entry.next_ms) {
        entry.told = entry.wanted;
        entry.next_ms = std::max(entry.next_ms, now_ms - (burst_ - 1) * every_ms_) + every_ms_;
        tell(name, *entry.told);
      }
    }
  }
  /// Names that are none any more.
  template <class Predicate>
  void forget(Predicate predicate) {
    std::erase_if(entries_, [&](const auto& entry) { return predicate(entry.first); });
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
    std::int64_t next_ms = std::numeric_limits<std::int64_t>::min();
  };
  std::int64_t every_ms_;
  std::int64_t burst_;
  std::map<std::string, Entry> entries_;
};

}  // namespace cosigner::supervisor
