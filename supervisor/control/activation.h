#pragma once
// The control socket as systemd hands it over (cosigner-control.socket): it is bound before this
// process starts and survives its restarts, so clients wait in its queue instead of being refused.

#include <optional>
#include <string>

#include "ipc/error.h"
#include "ipc/unique_fd.h"

namespace cosigner::supervisor {

/// The socket that systemd passed, or nothing if it passed none. Call once: the variables are taken
/// out of the environment, so that no child believes they are for it. Errors: conflict if what was
/// passed is not one stream socket listening at `path` (unit and configuration disagree).
[[nodiscard]] Expected<std::optional<ipc::UniqueFd>> take_control_socket(const std::string& path);

/// For a process that ends before it has taken the socket, and that starting again will not help:
/// systemd finds what it passed shut down and closes its socket unit, instead of starting this
/// program again for whoever waits there, until it starts it no more. Those who wait are refused;
/// the next `systemctl start` opens the socket anew.
void end_activation();

}  // namespace cosigner::supervisor
