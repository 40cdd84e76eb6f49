#pragma once
// What a worker says about its walls once they stand, before the first byte from the network: only
// what its supervisor cannot see from outside (supervisor/process/sandbox_view.h).

#include <cstdint>

#include "ipc/message_types.h"

namespace cosigner::ipc {

struct Sandboxed {
  std::uint32_t landlock = 0;  ///< version of the interface that was applied; 0: nothing was
  /// By a system-call filter around the node; otherwise, where nothing was applied, it is not in
  /// the kernel.
  bool landlock_refused = false;
  bool relaxed = false;  ///< a sanitizer build: limits only
  COSIGNER_MESSAGE(kSandboxed, landlock, landlock_refused, relaxed)
};

}  // namespace cosigner::ipc
