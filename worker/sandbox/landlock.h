#pragma once
// Landlock, where the kernel has it: no file system at all, TCP connections to the broker's port
// only, no signals and no abstract sockets out of the process's own domain. Needs no libraries and
// no privileges. Debian 12's headers stop at version 3 of its interface; the constants for later
// ones are here.

#include <cstdint>

#include "ipc/error.h"
#include "ipc/landlock.h"

namespace cosigner::worker {

using ipc::Landlock;

/// For this thread and all it will start; needs no_new_privs. What was applied: nothing for
/// version 0.
[[nodiscard]] Expected<Landlock> apply_landlock(std::uint16_t tcp_port);

}  // namespace cosigner::worker
