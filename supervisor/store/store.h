#pragma once
// The store off the supervisor's loop: one thread owns the database and runs what is submitted, in
// order, grouped into transactions. Urgent work commits at once, together with whatever else waits;
// work that may wait (signatures, written behind) waits at most 50 ms for company. Callbacks run in
// the loop's thread, after the commit.

#include <uv.h>

#include <functional>
#include <memory>

#include "supervisor/store/key_store.h"

namespace cosigner::supervisor {

class Store {
 public:
  /// Longest time that write-behind work waits for its commit.
  static constexpr std::uint32_t kGroupMs = 50;

  Store(uv_loop_t* loop, std::unique_ptr<KeyStore> keys);
  /// Runs and commits everything submitted, then ends the thread. Callbacks that did not run yet
  /// are dropped.
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  enum class Urgency { kNow, kBehind };

  /// Runs `work` on the store's thread inside a transaction of its group (a failing work is rolled
  /// back alone), then `done` with its result in the loop. A commit that fails turns every result
  /// of the group into storage_failed.
  template <class T>
  void submit(Urgency urgency, std::function<Expected<T>(KeyStore&)> work,
              std::function<void(Expected<T>)> done) {
    auto result = std::make_shared<Expected<T>>();
    Task task;
    task.urgent = urgency == Urgency::kNow;
    task.work = [work = std::move(work), result](KeyStore& keys) {
      *result = work(keys);
      return result->has_value();
    };
    task.commit_failed = [result](const Error& error) { *result = std::unexpected(error); };
    if (done) {
      task.done = [done = std::move(done), result] { done(std::move(*result)); };
    }
    enqueue(std::move(task));
  }

  /// Waits until everything submitted so far is durable (for shutdown); callbacks still come by the
  /// loop.
  void flush();
  /// Work not committed yet.
  [[nodiscard]] std::size_t pending() const;

 private:
  struct Task {
    bool urgent = true;
    std::function<bool(KeyStore&)> work;  ///< false: roll back its part
    std::function<void(const Error&)> commit_failed;
    std::function<void()> done;
  };
  class Impl;
  void enqueue(Task task);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cosigner::supervisor
