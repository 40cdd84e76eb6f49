#pragma once
// Requests that have no answer yet: each is in one list of its user, undelivered or delivered, and
// found by its number. Private to supervisor/registry.

#include <deque>
#include <utility>

#include "supervisor/registry/registry.h"

namespace cosigner::supervisor {

struct Registry::Waiting {
  RequestInfo info;
  ByteVector envelope;  ///< empty once delivered
  std::size_t bytes = 0;
  std::int64_t since = 0;
  User* user = nullptr;
  bool delivered = false;
  Waiting* previous = nullptr;
  Waiting* next = nullptr;
};

/// In order of arrival. Circular, so that a user's record holds one pointer for it.
class Registry::WaitingList {
 public:
  [[nodiscard]] bool empty() const { return last_ == nullptr; }
  /// Requires that it is not empty.
  [[nodiscard]] Waiting& front() const { return *last_->next; }
  void push_back(Waiting& waiting) {
    if (empty()) {
      waiting.previous = waiting.next = &waiting;
    } else {
      waiting.previous = last_;
      waiting.next = last_->next;
      waiting.next->previous = last_->next = &waiting;
    }
    last_ = &waiting;
  }
  /// Requires that it is in it.
  void remove(Waiting& waiting) {
    if (waiting.next == &waiting) {
      last_ = nullptr;
      return;
    }
    waiting.previous->next = waiting.next;
    waiting.next->previous = waiting.previous;
    if (last_ == &waiting) {
      last_ = waiting.previous;
    }
  }
  Waiting& pop_front() {
    Waiting& first = front();
    remove(first);
    return first;
  }
  /// Calls `visit` for each until it returns true, and says whether it did.
  template <class Visit>
  bool any(Visit&& visit) const {
    if (empty()) {
      return false;
    }
    for (Waiting* waiting = last_->next;; waiting = waiting->next) {
      if (visit(*waiting)) {
        return true;
      }
      if (waiting == last_) {
        return false;
      }
    }
  }
  /// O(size).
  [[nodiscard]] std::size_t size() const {
    std::size_t count = 0;
    any([&count](const Waiting&) {
      ++count;
      return false;
    });
    return count;
  }

 private:
  Waiting* last_ = nullptr;
};

/// Owns them all. The memory of one that is answered serves the next, still warm.
class Registry::Requests {
 public:
  [[nodiscard]] std::size_t size() const { return by_number_.size(); }
  [[nodiscard]] Waiting* find(std::uint64_t number) const {
    return by_number_
        .find(hash_of_number(number),
              [number](const Waiting* waiting) { return waiting->info.number == number; })
        .value_or(nullptr);
  }
  Waiting& open(User& user, RequestInfo&& info, ByteVector&& envelope, std::size_t bytes,
                std::int64_t now) {
    if (free_ == nullptr) {
      free_ = &storage_.emplace_back();
    }
    Waiting& waiting = *std::exchange(free_, free_->next);
    waiting.info = std::move(info);
    waiting.envelope = std::move(envelope);
    waiting.bytes = bytes;
    waiting.since = now;
    waiting.user = &user;
    waiting.delivered = false;
    by_number_.insert(hash_of_number(waiting.info.number), &waiting);
    return waiting;
  }
  /// `number`: of the request, whose info may have been moved from. It is in no list any more.
  void close(std::uint64_t number, Waiting& waiting) {
    by_number_.erase(hash_of_number(number), &waiting);
    waiting.envelope = {};
    waiting.next = std::exchange(free_, &waiting);
    if (by_number_.size() == 0 && storage_.size() > kKept) {
      storage_.clear();  // the flood is over
      free_ = nullptr;
    }
  }

 private:
  static constexpr std::size_t kKept = 4096;
  std::deque<Waiting> storage_;  ///< stays where it is as it grows
  Waiting* free_ = nullptr;
  TaggedTable<Waiting*> by_number_;
};

}  // namespace cosigner::supervisor
