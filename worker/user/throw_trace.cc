#include "worker/user/throw_trace.h"

#include <dlfcn.h>
#include <execinfo.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <span>
#include <typeinfo>

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
  std::array<void*, 2> unused{};
  ::backtrace(unused.data(), 2);
}

std::string last_throw_trace() {
  struct Free {
    void operator()(char** symbols) const { std::free(symbols); }
  };
  const std::unique_ptr<char*, Free> symbols(::backtrace_symbols(frames.data(), frame_count));
  std::string out;
  if (symbols != nullptr) {
    // The first frame is __cxa_throw itself.
    for (int i = 1; i < frame_count; ++i) {
      out += symbols.get()[i];
      out += '\n';
    }
  }
  return out;
}

}  // namespace cosigner::worker
