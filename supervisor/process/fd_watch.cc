#include "supervisor/process/fd_watch.h"

namespace cosigner::supervisor {

Expected<std::unique_ptr<FdWatch>> FdWatch::open(uv_loop_t* loop, int fd, Callback callback) {
  auto state = std::make_unique<State>();
  if (const int status = uv_poll_init(loop, &state->handle, fd); status != 0) {
    return fail(ErrorCode::kInternal,
                std::string("cannot watch a descriptor: ") + uv_strerror(status));
  }
  state->callback = std::move(callback);
  state->handle.data = state.get();
  return std::unique_ptr<FdWatch>(new FdWatch(state.release()));
}

FdWatch::~FdWatch() {
  state_->callback = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&state_->handle),
           [](uv_handle_t* handle) { delete static_cast<State*>(handle->data); });
}

void FdWatch::want(int events) {
  uv_poll_start(&state_->handle, events, [](uv_poll_t* handle, int status, int ready) {
    const auto* state = static_cast<State*>(handle->data);
    if (state->callback) {
      // A copy: the callback may destroy its FdWatch.
      const Callback callback = state->callback;
      callback(status == 0 ? ready : UV_READABLE);
    }
  });
}

}  // namespace cosigner::supervisor
