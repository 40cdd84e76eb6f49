#pragma once
// The process that forks workers and gateways: libraries warm, single-threaded, never connected to
// anything but the supervisor. A fork from here takes well under a millisecond where an exec with
// its initialisation takes three and a half.
//
// Each order makes two forks: an intermediate process, which writes the worker's pid into shared
// memory and exits, and the worker, which thereby becomes a child of the supervisor (a subreaper).
// Only the supervisor can reap it, so the pid in ForkResult cannot be another process's when the
// supervisor opens a pidfd for it.

#include <functional>
#include <string>

#include "ipc/zygote_messages.h"

namespace cosigner::worker {

/// Runs in the child, after enter_child(), with its socket at kSocketFd; returns the exit status.
using ChildMain = std::function<int(const ipc::ForkOrder& order, int socket)>;

/// Announces itself, then serves fork orders on the SOCK_SEQPACKET `socket` until its end; returns
/// the exit status. The caller's parent is the supervisor. `cgroups`: where the workers' cgroups
/// are (clone_into.h); empty: they have none.
[[nodiscard]] int run_zygote(int socket, const ChildMain& child_main,
                             const std::string& cgroups = {});

}  // namespace cosigner::worker
