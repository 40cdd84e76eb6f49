#pragma once
// A uv_poll_t with an owner: calls back in the loop when a descriptor is readable or writable. The
// descriptor stays the caller's.

#include <uv.h>

#include <functional>
#include <memory>

#include "ipc/error.h"

namespace cosigner::supervisor {

class FdWatch {
 public:
  using Callback = std::function<void(int events)>;  ///< UV_READABLE | UV_WRITABLE; must not throw

  [[nodiscard]] static Expected<std::unique_ptr<FdWatch>> open(uv_loop_t* loop, int fd,
                                                               Callback callback);
  /// Stops; the callback is not called any more. The handle is freed by a later turn of the loop.
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;

  /// UV_READABLE, UV_WRITABLE or both.
  void want(int events);

 private:
  struct State {
    uv_poll_t handle{};
    Callback callback;
  };
  explicit FdWatch(State* state) : state_(state) {}
  State* state_;  ///< frees itself in the close callback
};

}  // namespace cosigner::supervisor
