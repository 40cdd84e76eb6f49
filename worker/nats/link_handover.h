#pragma once
// Between the link thread, which opens and destroys links, and the loop's thread, which sends and
// receives on them: a link is destroyed only once the loop has let it go.

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace cosigner::worker {

class BrokerLink;

class LinkHandover {
 public:
  enum class Errand : std::uint8_t {
    kTake,     ///< send and receive on this link
    kUse,      ///< and publish on it from now on
    kDrained,  ///< everything that it will ever bring has been received
    kLetGo,    ///< do not touch it any more
  };
  struct Task {
    Errand errand = Errand::kTake;
    BrokerLink* link = nullptr;
    std::uint64_t number = 0;  ///< of the link, as LinkSignals counts them
    std::string announce{};    ///< with kUse: the address to tell the owner of the connection
  };
  /// `wake` makes the loop's thread call run().
  explicit LinkHandover(std::function<void()> wake) : wake_(std::move(wake)) {}

  // ---- the link thread

  /// False: the loop has left and has let everything go.
  bool ask(Task task) {
    const std::lock_guard lock(mutex_);
    if (left_) {
      return false;
    }
    tasks_.push_back(std::move(task));
    ++asked_;
    wake_();
    return true;
  }
  /// Waits until all that was asked is done, or the loop has left.
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return left_ || done_ == asked_; });
  }
  [[nodiscard]] bool left() {
    const std::lock_guard lock(mutex_);
    return left_;
  }

  // ---- the loop's thread

  template <class Do>
  void run(Do&& work) {
    std::vector<Task> tasks;
    {
      const std::lock_guard lock(mutex_);
      tasks.swap(tasks_);
    }
    for (const Task& task : tasks) {
      work(task);
    }
    {
      const std::lock_guard lock(mutex_);
      done_ += tasks.size();
    }
    changed_.notify_one();
  }
  /// The loop has let every link go and takes none any more.
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      left_ = true;
    }
    changed_.notify_one();
  }

 private:
  const std::function<void()> wake_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Task> tasks_;
  std::uint64_t asked_ = 0;
  std::uint64_t done_ = 0;
  bool left_ = false;
};

}  // namespace cosigner::worker
