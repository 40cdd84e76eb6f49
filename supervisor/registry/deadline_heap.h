#pragma once
// The nearest of many deadlines, at most one per slot: a heap of four children per node that knows
// where each slot stands, so that a deadline can move. A new deadline is nearly always later than
// most and stays at the bottom; the first is taken in O(log n) steps (at 100,000 slots: nine),
// each within 64 bytes. All of it is two arrays of 20 bytes per slot together.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace cosigner::supervisor {

class DeadlineHeap {
 public:
  using Slot = std::uint32_t;

  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }
  /// Requires that it is not empty.
  [[nodiscard]] std::int64_t first_at() const { return heap_.front().at; }
  [[nodiscard]] std::optional<std::int64_t> at(Slot slot) const {
    return contains(slot) ? std::optional(heap_[places_[slot]].at) : std::nullopt;
  }

  /// Files the slot, or moves it.
  void set(Slot slot, std::int64_t at) {
    if (slot >= places_.size()) {
      places_.resize(slot + 1, kOut);
    }
    if (places_[slot] == kOut) {
      heap_.push_back({at, slot});
      rise(heap_.size() - 1, {at, slot});
    } else {
      refile(places_[slot], {at, slot});
    }
  }
  /// Nothing if it is not in it.
  void erase(Slot slot) {
    if (!contains(slot)) {
      return;
    }
    const std::size_t hole = std::exchange(places_[slot], kOut);
    const Entry last = heap_.back();
    heap_.pop_back();
    if (last.slot != slot) {
      refile(hole, last);
    }
  }
  /// Takes the slot with the nearest deadline; requires that there is one.
  Slot pop() {
    const Slot slot = heap_.front().slot;
    erase(slot);
    return slot;
  }
  /// Nothing stands before an earlier one, and each slot where it is said to. For tests.
  [[nodiscard]] bool whole() const {
    for (std::size_t i = 0; i < heap_.size(); ++i) {
      if (places_[heap_[i].slot] != i || (i > 0 && heap_[parent(i)].at > heap_[i].at)) {
        return false;
      }
    }
    return true;
  }

 private:
  static constexpr std::uint32_t kOut = std::numeric_limits<std::uint32_t>::max();
  static constexpr std::size_t kChildren = 4;
  struct Entry {
    std::int64_t at = 0;
    Slot slot = 0;
  };

  static std::size_t parent(std::size_t i) { return (i - 1) / kChildren; }
  [[nodiscard]] bool contains(Slot slot) const {
    return slot < places_.size() && places_[slot] != kOut;
  }
  void place(std::size_t i, const Entry& entry) {
    heap_[i] = entry;
    places_[entry.slot] = static_cast<std::uint32_t>(i);
  }
  void refile(std::size_t i, const Entry& entry) {
    if (i > 0 && entry.at < heap_[parent(i)].at) {
      rise(i, entry);
    } else {
      sink(i, entry);
    }
  }
  void rise(std::size_t i, const Entry& entry) {
    while (i > 0 && entry.at < heap_[parent(i)].at) {
      place(i, heap_[parent(i)]);
      i = parent(i);
    }
    place(i, entry);
  }
  void sink(std::size_t i, const Entry& entry) {
    for (;;) {
      const std::size_t begin = (kChildren * i) + 1;
      const std::size_t end = std::min(begin + kChildren, heap_.size());
      std::size_t nearest = begin;
      for (std::size_t child = begin; child < end; ++child) {
        nearest = heap_[child].at < heap_[nearest].at ? child : nearest;
      }
      if (begin >= end || heap_[nearest].at >= entry.at) {
        break;
      }
      place(i, heap_[nearest]);
      i = nearest;
    }
    place(i, entry);
  }

  std::vector<Entry> heap_;
  std::vector<std::uint32_t> places_;  ///< by slot
};

}  // namespace cosigner::supervisor
