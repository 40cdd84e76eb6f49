#pragma once
// Which landlock there is: asked by the worker, which applies it, and by the supervisor, which
// tells the operator.

#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace cosigner::ipc {

struct Landlock {
  /// Of the kernel's interface; 0: there is none (5.13 is the first with one, 6.7 with ports, 6.12
  /// with signals).
  std::uint32_t version = 0;
  /// There is none because a system-call filter around the node refuses to ask: the unit's or a
  /// container's, not the kernel's want of it.
  bool refused = false;
};

/// landlock_create_ruleset; the numbers of new system calls are the same on all architectures.
inline constexpr long kLandlockCreateRuleset = 444;

[[nodiscard]] inline Landlock ask_landlock() {
  constexpr std::uint32_t kAskVersion = 1;
  const long version = ::syscall(kLandlockCreateRuleset, nullptr, 0, kAskVersion);
  // ENOSYS: not built in. EOPNOTSUPP: switched off at boot. The kernel itself says nothing else.
  return version < 0 ? Landlock{.version = 0, .refused = errno != ENOSYS && errno != EOPNOTSUPP}
                     : Landlock{.version = static_cast<std::uint32_t>(version), .refused = false};
}

}  // namespace cosigner::ipc
