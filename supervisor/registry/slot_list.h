#pragma once
// A list of slots (small numbers, each in it at most once) whose links lie in an array of their
// own. Taking a user out of the middle of the idle list writes to both neighbours, which are any
// two users of the node: here that is eight bytes in an array of 800 KB at 100,000 users, which a
// second-level cache holds, and not two more cold records.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace cosigner::supervisor {

class SlotList {
 public:
  using Slot = std::uint32_t;

  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool contains(Slot slot) const {
    return slot < links_.size() && links_[slot].next != kOut;
  }
  /// Both require that it is not empty.
  [[nodiscard]] Slot front() const { return first_; }
  [[nodiscard]] Slot back() const { return last_; }

  /// Both require that the slot is not in it.
  void push_back(Slot slot) { insert(slot, last_, kEnd); }
  void push_front(Slot slot) { insert(slot, kEnd, first_); }
  /// Nothing if it is not in it.
  void erase(Slot slot) {
    if (!contains(slot)) {
      return;
    }
    const Link link = links_[slot];
    next_of(link.previous) = link.next;
    previous_of(link.next) = link.previous;
    links_[slot] = {};
    --size_;
  }
  /// Both directions agree, and with the size. For tests.
  [[nodiscard]] bool whole() const {
    std::size_t seen = 0;
    Slot before = kEnd;
    for (Slot slot = first_; slot != kEnd; slot = links_[slot].next) {
      if (!contains(slot) || links_[slot].previous != before || ++seen > size_) {
        return false;
      }
      before = slot;
    }
    return seen == size_ && last_ == before;
  }

 private:
  static constexpr Slot kEnd = std::numeric_limits<Slot>::max();
  static constexpr Slot kOut = kEnd - 1;
  struct Link {
    Slot previous = kOut;
    Slot next = kOut;
  };

  Slot& next_of(Slot slot) { return slot == kEnd ? first_ : links_[slot].next; }
  Slot& previous_of(Slot slot) { return slot == kEnd ? last_ : links_[slot].previous; }
  void insert(Slot slot, Slot previous, Slot next) {
    if (slot >= links_.size()) {
      links_.resize(slot + 1);
    }
    links_[slot] = {previous, next};
    next_of(previous) = slot;
    previous_of(next) = slot;
    ++size_;
  }

  std::vector<Link> links_;
  Slot first_ = kEnd;
  Slot last_ = kEnd;
  std::size_t size_ = 0;
};

}  // namespace cosigner::supervisor
