#pragma once
// From the loop to the transmit thread: bounded, refuses what does not fit, wakes the thread only
// when it sleeps. Also carries what else the thread must hear of: new credentials, a lost link, the
// end.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/message_parts.h"

namespace cosigner::worker {

struct Outgoing {
  std::string subject;
  std::string reply;  ///< empty: none
  ByteVector payload;
};

class Outbox {
 public:
  struct Limits {
    std::size_t messages = 8192;
    std::size_t bytes = 32U << 20;  ///< of payloads
  };
  explicit Outbox(Limits limits) : limits_(limits) {}

  /// False, and nothing is kept, when full or not open.
  bool push(Outgoing message) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      const std::size_t size = message.payload.size();
      if (!open_ || (closing_ && !lingering_) || messages_.size() >= limits_.messages ||
          bytes_ + size > limits_.bytes) {
        return false;
      }
      bytes_ += size;
      messages_.push_back(std::move(message));
      wake = sleeping_;
    }
    if (wake) {
      changed_.notify_one();
    }
    return true;
  }
  /// Credentials for a new connection that takes the place of the present one.
  void renew(ipc::BrokerAccess access) {
    set([&] { renewed_ = std::move(access); });
  }
  /// The link with this number is gone: the present one, or one whose opening failed.
  void lost(std::uint64_t link) {
    set([&] { lost_links_.push_back(link); });
  }
  /// Send what is queued, then end.
  void close() {
    set([&] {
      closing_ = true;
      lingering_ = false;
    });
  }
  /// The same, but messages are accepted until close(), or the end of linger().
  void drain() {
    set([&] {
      lingering_ = !closing_ || lingering_;
      closing_ = true;
    });
  }

  /// Messages are accepted while open. Closing the gate forgets what is queued and returns how many
  /// messages that were: what is stale by the time a broker is back helps nobody.
  std::size_t set_open(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    std::size_t forgotten = 0;
    if (!open) {
      forgotten = messages_.size();
      messages_.clear();
      bytes_ = 0;
    }
    return forgotten;
  }

  struct Wake {
    std::vector<Outgoing> messages;
    std::optional<ipc::BrokerAccess> renewed;
    bool lost = false;
    bool closing = false;
  };
  /// Sleeps until there is something to do for the link with this number. What was lost under a
  /// lower number is forgotten.
  [[nodiscard]] Wake wait(std::uint64_t link) {
    std::unique_lock lock(mutex_);
    std::erase_if(lost_links_, [link](std::uint64_t lost) { return lost < link; });
    const auto lost = [&] { return std::ranges::find(lost_links_, link) != lost_links_.end(); };
    sleeping_ = true;
    changed_.wait(lock, [&] { return !messages_.empty() || renewed_ || closing_ || lost(); });
    sleeping_ = false;
    Wake wake;
    wake.messages.swap(messages_);
    bytes_ = 0;
    wake.renewed = std::exchange(renewed_, std::nullopt);
    wake.lost = lost();
    wake.closing = closing_;
    return wake;
  }
  /// Sleeps for `duration` unless the end comes first, which it returns. New credentials end the
  /// sleep too.
  [[nodiscard]] bool sleep(std::chrono::milliseconds duration) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, duration, [&] { return closing_ || renewed_.has_value(); });
    return closing_;
  }
  [[nodiscard]] bool lingering() {
    const std::lock_guard lock(mutex_);
    return lingering_;
  }
  /// Sleeps until close(), for `most` at most, and accepts no messages afterwards.
  void linger(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, most, [&] { return !lingering_; });
    lingering_ = false;
  }
  [[nodiscard]] bool closing() {
    const std::lock_guard lock(mutex_);
    return closing_;
  }
  [[nodiscard]] std::optional<ipc::BrokerAccess> take_renewed() {
    const std::lock_guard lock(mutex_);
    return std::exchange(renewed_, std::nullopt);
  }

 private:
  template <class F>
  void set(F&& change) {
    {
      const std::lock_guard lock(mutex_);
      change();
    }
    changed_.notify_one();
  }

  const Limits limits_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Outgoing> messages_;
  std::size_t bytes_ = 0;
  std::optional<ipc::BrokerAccess> renewed_;
  std::vector<std::uint64_t> lost_links_;
  bool open_ = false;
  bool sleeping_ = false;
  bool closing_ = false;
  bool lingering_ = false;  ///< closing, and messages are accepted still
};

}  // namespace cosigner::worker
