#pragma once
// The clocks and timers of the loop.

#include <uv.h>

#include <chrono>
#include <cstdint>
#include <functional>

namespace cosigner::supervisor {

/// Monotonic milliseconds.
[[nodiscard]] inline std::int64_t monotonic_ms() {
  return static_cast<std::int64_t>(uv_hrtime() / 1'000'000);
}
/// Monotonic microseconds.
[[nodiscard]] inline std::int64_t monotonic_us() {
  return static_cast<std::int64_t>(uv_hrtime() / 1'000);
}
/// Milliseconds since 1970.
[[nodiscard]] inline std::uint64_t wall_ms() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                        std::chrono::system_clock::now().time_since_epoch())
                                        .count());
}
[[nodiscard]] inline std::uint64_t wall_seconds() {
  return wall_ms() / 1000;
}

/// A uv_timer_t with an owner. The callback may destroy the timer.
class LoopTimer {
 public:
  LoopTimer(uv_loop_t* loop, std::function<void()> callback)
      : state_(new State{{}, std::move(callback)}) {
    uv_timer_init(loop, &state_->handle);
    state_->handle.data = state_;
  }
  ~LoopTimer() {
    uv_timer_stop(&state_->handle);
    uv_close(reinterpret_cast<uv_handle_t*>(&state_->handle),
             [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
  }
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;

  /// `repeat_ms` 0: once.
  void start(std::uint64_t delay_ms, std::uint64_t repeat_ms = 0) {
    uv_update_time(state_->handle.loop);
    uv_timer_start(
        &state_->handle, [](uv_timer_t* handle) { static_cast<State*>(handle->data)->callback(); },
        delay_ms, repeat_ms);
  }
  void stop() { uv_timer_stop(&state_->handle); }

 private:
  struct State {
    uv_timer_t handle;
    std::function<void()> callback;
  };
  State* state_;  ///< frees itself in the close callback
};

}  // namespace cosigner::supervisor
