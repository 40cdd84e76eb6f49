#pragma once
// The store off the loop: one thread, a queue of jobs, results back on the loop. Whatever waits
// when the thread comes round shares one transaction and so one fsync (group commit); results that
// nobody waits for are held back up to 50 ms to share one too. No callback runs before its job is
// durable. When a transaction fails, its jobs run again one by one, so that only those fail that
// cannot be stored.

#include <uv.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "supervisor/store/store.h"

namespace cosigner::supervisor {

class StoreThread {
 public:
  enum class Urgency : std::uint8_t {
    kNow,
    kBehind,  ///< may wait up to kWriteBehind for company
  };
  static constexpr std::chrono::milliseconds kWriteBehind{50};
  /// Jobs in one transaction.
  static constexpr std::size_t kMaxGroup = 512;

  /// Takes the store over. Callbacks run on `loop`, in the order of the jobs.
  StoreThread(uv_loop_t* loop, Store store);
  /// Finishes every job and joins the thread; callbacks not run yet are dropped. The loop must run
  /// once more to free the handle.
  ~StoreThread();
  StoreThread(const StoreThread&) = delete;
  StoreThread& operator=(const StoreThread&) = delete;

  /// `work(Store&)` returns an Expected<T> and runs on the thread, perhaps twice (then nothing of
  /// the first run is durable); `done(Expected<T>)` runs on the
  /// loop once the transaction is durable (storage_failed if it did not become so).
  template <class Work, class Done>
  void submit(Urgency urgency, Work work, Done done) {
    using Outcome = decltype(work(std::declval<Store&>()));
    auto outcome = std::make_shared<Outcome>(fail(ErrorCode::kInternal, "not run"));
    push(urgency,
         {[work = std::move(work), outcome](Store& store) mutable {
            *outcome = store.operation([&](Store& inside) { return work(inside); });
          },
          [this, done = std::move(done), outcome](const std::optional<Error>& broken) mutable {
            if (broken) {
              *outcome = std::unexpected(*broken);
            }
            if (!*outcome && outcome->error().code == ErrorCode::kStorageFailed) {
              ++failures_;
            }
            done(std::move(*outcome));
          }});
  }

  [[nodiscard]] std::size_t waiting() const;
  /// Jobs that ended with storage_failed; of the loop's thread.
  [[nodiscard]] std::uint64_t failures() const { return failures_; }

 private:
  struct Job {
    std::function<void(Store&)> work;
    std::function<void(const std::optional<Error>&)> done;
  };
  struct Finished {
    std::function<void(const std::optional<Error>&)> done;
    std::optional<Error> error;
  };
  void push(Urgency urgency, Job job);
  void run();
  void run_group(std::vector<Job> group);
  /// Error: nothing of it is durable.
  [[nodiscard]] std::optional<Error> run_transaction(std::span<Job> jobs);
  void deliver();

  Store store_;
  bool log_outlives_erasure_ = false;  ///< of the store's thread
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  bool urgent_ = false;
  std::chrono::steady_clock::time_point oldest_;
  bool stop_ = false;
  std::vector<Finished> finished_;
  std::uint64_t failures_ = 0;
  uv_async_t* async_;  ///< frees itself when closed
  std::thread thread_;
};

}  // namespace cosigner::supervisor
