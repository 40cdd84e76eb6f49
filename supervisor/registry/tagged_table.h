#pragma once
// A hash table that keeps 32 bits of each key's hash and a small value, and no key: open addressing
// with linear probing in one array. With four bytes of value a place takes eight, so a look-up
// among 100,000 users touches one cache line here, where a node-based map touches four or five
// that lie apart. The key is in what the value stands for; the caller compares it there.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace cosigner::supervisor {

/// Spreads numbers that were given one after another (2^64 divided by the golden ratio).
constexpr std::uint64_t hash_of_number(std::uint64_t number) {
  return number * 0x9E37'79B9'7F4A'7C15U;
}

template <class Value>
class TaggedTable {
 public:
  /// The value under this hash of which `is_it` is true.
  template <class Predicate>
  [[nodiscard]] std::optional<Value> find(std::uint64_t hash, Predicate&& is_it) const {
    if (places_.empty()) {
      return std::nullopt;
    }
    const std::uint32_t tag = tag_of(hash);
    for (std::size_t at = home(tag); places_[at].tag != kFree; at = next(at)) {
      if (places_[at].tag == tag && is_it(places_[at].value)) {
        return places_[at].value;
      }
    }
    return std::nullopt;
  }
  /// Requires that this value is not in it.
  void insert(std::uint64_t hash, Value value) {
    if (2 * (used_ + 1) > places_.size()) {
      grow();
    }
    put({tag_of(hash), value});
    ++used_;
  }
  /// Requires that insert() was called with both.
  void erase(std::uint64_t hash, Value value) {
    const std::uint32_t tag = tag_of(hash);
    std::size_t hole = home(tag);
    while (places_[hole].tag != tag || places_[hole].value != value) {
      hole = next(hole);
    }
    // Whatever probed past the hole moves back into it, so that no search stops there too early.
    for (std::size_t at = next(hole); places_[at].tag != kFree; at = next(at)) {
      const std::size_t mask = places_.size() - 1;
      const std::size_t from_home = (at - home(places_[at].tag)) & mask;
      if (from_home >= ((at - hole) & mask)) {
        places_[std::exchange(hole, at)] = places_[at];
      }
    }
    places_[hole] = {};
    --used_;
  }
  [[nodiscard]] std::size_t size() const { return used_; }

 private:
  static constexpr std::uint32_t kFree = 0;
  struct Place {
    std::uint32_t tag = kFree;
    Value value{};
  };

  static std::uint32_t tag_of(std::uint64_t hash) {
    const auto tag = static_cast<std::uint32_t>(hash >> 32U);
    return tag == kFree ? 1 : tag;
  }
  [[nodiscard]] std::size_t home(std::uint32_t tag) const { return tag & (places_.size() - 1); }
  [[nodiscard]] std::size_t next(std::size_t at) const { return (at + 1) & (places_.size() - 1); }
  void put(const Place& place) {
    std::size_t at = home(place.tag);
    while (places_[at].tag != kFree) {
      at = next(at);
    }
    places_[at] = place;
  }
  void grow() {
    const std::vector<Place> old =
        std::exchange(places_, std::vector<Place>(places_.empty() ? 16 : 2 * places_.size()));
    for (const Place& place : old) {
      if (place.tag != kFree) {
        put(place);
      }
    }
  }

  std::vector<Place> places_;  ///< a power of two, at most half of them used
  std::size_t used_ = 0;
};

}  // namespace cosigner::supervisor
