#include "supervisor/store/store.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace cosigner::supervisor {

class Store::Impl {
 public:
  Impl(uv_loop_t* loop, std::unique_ptr<KeyStore> keys) : keys_(std::move(keys)) {
    async_ = new uv_async_t;
    async_->data = this;
    uv_async_init(loop, async_,
                  [](uv_async_t* handle) { static_cast<Impl*>(handle->data)->deliver(); });
    uv_unref(reinterpret_cast<uv_handle_t*>(async_));
    thread_ = std::thread([this] { run(); });
  }
  ~Impl() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    changed_.notify_one();
    thread_.join();
    uv_close(reinterpret_cast<uv_handle_t*>(async_),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_async_t*>(handle); });
  }

  void enqueue(Task task) {
    {
      const std::lock_guard lock(mutex_);
      if (queue_.empty()) {
        oldest_ = std::chrono::steady_clock::now();
      }
      urgent_ = urgent_ || task.urgent;
      queue_.push_back(std::move(task));
    }
    changed_.notify_one();
  }
  void flush() {
    std::unique_lock lock(mutex_);
    urgent_ = urgent_ || !queue_.empty();
    changed_.notify_one();
    idle_.wait(lock, [&] { return queue_.empty() && !running_; });
  }
  std::size_t pending() {
    const std::lock_guard lock(mutex_);
    return queue_.size() + (running_ ? 1 : 0);
  }

 private:
  // ---- the store's thread
  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [&] { return ending_ || !queue_.empty(); });
      if (queue_.empty()) {
        return;  // ending, and nothing is left
      }
      changed_.wait_until(lock, oldest_ + std::chrono::milliseconds(kGroupMs),
                          [&] { return ending_ || urgent_; });
      std::vector<Task> group;
      group.swap(queue_);
      urgent_ = false;
      running_ = true;
      lock.unlock();
      run_group(group);
      lock.lock();
      running_ = false;
      for (Task& task : group) {
        if (task.done) {
          finished_.push_back(std::move(task.done));
        }
      }
      idle_.notify_all();
      if (!finished_.empty()) {
        uv_async_send(async_);
      }
    }
  }

  void run_group(std::vector<Task>& group) {
    auto status = keys_->begin();
    if (status) {
      for (Task& task : group) {
        status = keys_->savepoint();
        if (!status) {
          break;
        }
        bool ok = false;
        try {
          ok = task.work(*keys_);
        } catch (const std::exception& error) {
          task.commit_failed(Error{.code = ErrorCode::kStorageFailed,
                                   .message = error.what(),
                                   .peer = {},
                                   .peer_reason = {}});
        }
        keys_->release(ok);
      }
      if (status) {
        status = keys_->commit();
      }
    }
    if (!status) {
      keys_->rollback();
      for (Task& task : group) {
        task.commit_failed(status.error());
      }
    }
  }

  // ---- the loop's thread
  void deliver() {
    std::vector<std::function<void()>> finished;
    {
      const std::lock_guard lock(mutex_);
      finished.swap(finished_);
    }
    for (const auto& done : finished) {
      done();
    }
  }

  std::unique_ptr<KeyStore> keys_;
  uv_async_t* async_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::condition_variable idle_;
  std::vector<Task> queue_;
  std::vector<std::function<void()>> finished_;
  std::chrono::steady_clock::time_point oldest_;
  bool urgent_ = false;
  bool running_ = false;
  bool ending_ = false;
  std::thread thread_;
};

Store::Store(uv_loop_t* loop, std::unique_ptr<KeyStore> keys)
    : impl_(std::make_unique<Impl>(loop, std::move(keys))) {}
Store::~Store() = default;
void Store::enqueue(Task task) {
  impl_->enqueue(std::move(task));
}
void Store::flush() {
  impl_->flush();
}
std::size_t Store::pending() const {
  return impl_->pending();
}

}  // namespace cosigner::supervisor
