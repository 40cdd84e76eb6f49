#include "worker/user/throw_trace.h"

#include <dlfcn.h>
#include <execinfo.h>

#include <array>
#include <charconv>
#include <cstdlib>

#include "worker/crash/code_place.h"
#include "worker/crash/crash_handler.h"

namespace {

constexpr int kMaxFrames = 24;
thread_local std::array<void*, kMaxFrames> frames;
thread_local int frame_count = 0;

using Throw = void (*)(void*, void*, void (*)(void*));

Throw real_throw() {
  static const auto found = reinterpret_cast<Throw>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  return found;
}

}  // namespace

// Takes the place of the C++ run time's function of this name and passes on to it.
extern "C" [[noreturn]] void __cxa_throw(void* object, void* type, void (*destroy)(void*)) {
  frame_count = ::backtrace(frames.data(), kMaxFrames);
  real_throw()(object, type, destroy);
  std::abort();
}

namespace cosigner::worker {

void prepare_throw_trace() {
  static_cast<void>(real_throw());
  prepare_crash_handler();  // loads the unwinder, notes where the modules are
}

std::string last_throw_trace() {
  std::string out;
  // The first frame is __cxa_throw itself.
  for (std::size_t i = 1; i < static_cast<std::size_t>(frame_count); ++i) {
    const ipc::CodePlace place = code_place(frames[i]);
    char offset[16];
    const auto end = std::to_chars(offset, offset + sizeof offset, place.offset, 16).ptr;
    out += place.module.empty() ? "?" : place.module + "(+0x" + std::string(offset, end) + ")";
    out += '\n';
  }
  return out;
}

}  // namespace cosigner::worker
