#pragma once
// A step that throws (no memory, an observer that cannot announce a check) may have used up or
// wiped half of what it needs. Going on from there would run checks over wiped state and blame a
// peer for the result, so the object is dead before the exception goes any further.

#include <utility>

namespace cosigner {

/// Runs `step`; what it throws meets `die` first, which must wipe what the object holds and make
/// every later step fail.
template <class Step, class Die>
auto or_die(Step&& step, Die&& die) -> decltype(std::forward<Step>(step)()) {
  static_assert(noexcept(die()));
  try {
    return std::forward<Step>(step)();
  } catch (...) {
    die();
    throw;
  }
}

}  // namespace cosigner
