#pragma once
// What has come and waits for its turn of the loop: bounded, taken in whole batches, one wake-up
// per batch for what other threads push.

#include <mutex>
#include <utility>
#include <vector>

#include "worker/nats/broker_event.h"

namespace cosigner::worker {

/// A queue that is full drops the newest message (peers send again, clients have deadlines) and
/// says so with the next batch. State changes and problems are never dropped: they are few.
class EventQueue {
 public:
  struct Limits {
    std::size_t messages = 4096;
    std::size_t bytes = 16U << 20;  ///< of payloads
  };
  explicit EventQueue(Limits limits) : limits_(limits) {}

  /// True if a batch begins with it: the loop is to be told.
  bool push(BrokerEvent event) {
    const std::lock_guard lock(mutex_);
    if (const auto* message = std::get_if<BrokerMessage>(&event)) {
      const std::size_t size = message->payload.size();
      if (messages_ >= limits_.messages || bytes_ + size > limits_.bytes) {
        ++dropped_;
        return false;  // whoever filled the queue has told the loop
      }
      ++messages_;
      bytes_ += size;
    }
    events_.push_back(std::move(event));
    return events_.size() == 1;
  }

  /// Everything so far, in order; `spare` lends its storage to the next batch.
  [[nodiscard]] std::vector<BrokerEvent> take(std::vector<BrokerEvent> spare = {}) {
    spare.clear();
    const std::lock_guard lock(mutex_);
    events_.swap(spare);
    messages_ = 0;
    bytes_ = 0;
    if (const std::uint64_t dropped = std::exchange(dropped_, 0); dropped > 0) {
      spare.emplace_back(BrokerProblem{BrokerProblemKind::kSlowConsumer, dropped,
                                       "the loop did not take incoming messages in time"});
    }
    return spare;
  }

 private:
  const Limits limits_;
  std::mutex mutex_;
  std::vector<BrokerEvent> events_;
  std::size_t messages_ = 0;
  std::size_t bytes_ = 0;
  std::uint64_t dropped_ = 0;
};

}  // namespace cosigner::worker
