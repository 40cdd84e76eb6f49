#pragma once
// Landlock, where the kernel has it: no file system at all, TCP connections to the broker's port
// only, no signals and no abstract sockets out of the process's own domain. Needs no libraries and
// no privileges. Debian 12's headers stop at version 3 of its interface; the constants for later
// ones are here.

#include <cstdint>

#include "ipc/error.h"

namespace cosigner::worker {

struct Landlock {
  /// Of the kernel's interface; 0: nothing was applied (5.13 is the first with one, 6.7 with ports,
  /// 6.12 with signals).
  std::uint32_t version = 0;
  /// Nothing was applied because a system-call filter around the node refuses to ask: the unit's or
  /// a container's, not the kernel's want of it.
  bool refused = false;
};

/// For this thread and all it will start; needs no_new_privs.
[[nodiscard]] Expected<Landlock> apply_landlock(std::uint16_t tcp_port);

}  // namespace cosigner::worker
