#pragma once
// What the supervisor gives up for itself, and with it everything it starts, once its files are
// open: privileges it could gain, capabilities, cores and foreign eyes (it holds the node's keys),
// and system calls that neither it nor a zygote, gateway or worker has a use for. The unit's own
// sandbox says more (packaging/systemd); this holds wherever the program is started.

#include "ipc/error.h"

namespace cosigner::supervisor {

/// Call while the process has one thread. An error means that a wall the kernel knows could not be
/// raised. Sanitizer builds raise none.
[[nodiscard]] Expected<void> enter_own_sandbox();

}  // namespace cosigner::supervisor
