#include "supervisor/store/store_thread.h"

#include <pthread.h>

#include <csignal>

namespace cosigner::supervisor {

StoreThread::StoreThread(uv_loop_t* loop, Store store)
    : store_(std::move(store)), async_(new uv_async_t) {
  uv_async_init(loop, async_, [](uv_async_t* handle) {
    if (auto* self = static_cast<StoreThread*>(handle->data)) {
      self->deliver();
    }
  });
  async_->data = this;
  // Signals belong to the loop's thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "store");
    run();
  });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

StoreThread::~StoreThread() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
  async_->data = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(async_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_async_t*>(handle); });
}

std::size_t StoreThread::waiting() const {
  const std::lock_guard lock(mutex_);
  return queue_.size();
}

void StoreThread::push(Urgency urgency, Job job) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.empty()) {
      oldest_ = std::chrono::steady_clock::now();
      wake = true;
    }
    queue_.push_back(std::move(job));
    if (urgency == Urgency::kNow && !urgent_) {
      urgent_ = true;
      wake = true;
    }
  }
  if (wake) {
    wake_.notify_one();
  }
}

void StoreThread::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    if (queue_.empty()) {
      return;
    }
    // Jobs keep their order, so an urgent one takes those before it along.
    wake_.wait_until(lock, oldest_ + kWriteBehind,
                     [this] { return stop_ || urgent_ || queue_.size() >= kMaxGroup; });
    std::vector<Job> group;
    while (!queue_.empty() && group.size() < kMaxGroup) {
      group.push_back(std::move(queue_.front()));
      queue_.pop_front();
    }
    urgent_ = urgent_ && !queue_.empty();
    lock.unlock();
    run_group(std::move(group));
    lock.lock();
  }
}

std::optional<Error> StoreThread::run_transaction(std::span<Job> jobs) {
  if (const auto begun = store_.begin(); !begun) {
    return begun.error();
  }
  for (Job& job : jobs) {
    job.work(store_);
    if (!store_.in_transaction()) {
      return retryable(ErrorCode::kStorageFailed,
                       "The store rolled a transaction back: is the disk full?");
    }
  }
  if (const auto committed = store_.commit(); !committed) {
    const auto undone = store_.rollback();
    return undone ? committed.error() : undone.error();
  }
  if (store_.take_erased() || log_outlives_erasure_) {
    // A reader (`doctor`, a program of the operator's) may be in the way: not
    // waited for, since every answer would wait too; the next transaction tries again, and a tick
    // brings one.
    log_outlives_erasure_ = !store_.truncate_log().value_or(false);
  }
  return std::nullopt;
}

void StoreThread::run_group(std::vector<Job> group) {
  std::vector<std::optional<Error>> broken(group.size());
  if (auto failed = run_transaction(group)) {
    // What one job could not write must not cost the others theirs: each again, for itself.
    for (std::size_t i = 0; group.size() > 1 && i < group.size(); ++i) {
      broken[i] = run_transaction({&group[i], 1});
    }
    if (group.size() == 1) {
      broken[0] = std::move(failed);
    }
  }
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < group.size(); ++i) {
      finished_.push_back({std::move(group[i].done), std::move(broken[i])});
    }
  }
  uv_async_send(async_);
}

void StoreThread::deliver() {
  std::vector<Finished> finished;
  {
    const std::lock_guard lock(mutex_);
    finished.swap(finished_);
  }
  for (Finished& one : finished) {
    one.done(one.error);
  }
}

}  // namespace cosigner::supervisor
