#pragma once
// What the link thread must hear of: new credentials, a lost link, the end.

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "ipc/message_parts.h"

namespace cosigner::worker {

class LinkSignals {
 public:
  /// Credentials for a new connection that takes the place of the present one.
  void renew(ipc::BrokerAccess access) {
    set([&] { renewed_ = std::move(access); });
  }
  /// The link with this number is gone: the present one, or one whose opening failed.
  void lost(std::uint64_t link) {
    set([&] { lost_links_.push_back(link); });
  }
  /// Send what is unwritten, then end.
  void close() {
    set([&] {
      closing_ = true;
      lingering_ = false;
    });
  }
  /// The same, but there is something to say until close(), or the end of linger().
  void drain() {
    set([&] {
      lingering_ = !closing_ || lingering_;
      closing_ = true;
    });
  }

  struct Wake {
    std::optional<ipc::BrokerAccess> renewed;
    bool lost = false;
    bool closing = false;
    [[nodiscard]] bool idle() const { return !renewed && !lost && !closing; }
  };
  /// Sleeps until there is something to do for the link with this number, or for `most`. What was
  /// lost under a lower number is forgotten.
  [[nodiscard]] Wake wait(std::uint64_t link, std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    std::erase_if(lost_links_, [link](std::uint64_t lost) { return lost < link; });
    const auto lost = [&] { return std::ranges::find(lost_links_, link) != lost_links_.end(); };
    changed_.wait_for(lock, most, [&] { return renewed_ || closing_ || lost(); });
    return {.renewed = std::exchange(renewed_, std::nullopt), .lost = lost(), .closing = closing_};
  }
  /// Whether wait() would return at once, with something.
  [[nodiscard]] bool pending(std::uint64_t link) {
    const std::lock_guard lock(mutex_);
    return renewed_ || closing_ || std::ranges::find(lost_links_, link) != lost_links_.end();
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
  /// Sleeps until close(), for `most` at most.
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

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<ipc::BrokerAccess> renewed_;
  std::vector<std::uint64_t> lost_links_;
  bool closing_ = false;
  bool lingering_ = false;  ///< closing, and there is something to say still
};

}  // namespace cosigner::worker
