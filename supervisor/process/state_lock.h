#pragma once
// Two supervisors never share a state directory: a lock on `<state>/lock`, held for as long as the
// process lives. No pid file, nothing to go stale.

#include <chrono>
#include <string>

#include "ipc/error.h"
#include "ipc/unique_fd.h"

namespace cosigner::supervisor {

/// Takes the lock, waiting for a predecessor that is on its way out. Errors: conflict with the
/// directory's name; storage_failed if the file cannot be made.
[[nodiscard]] Expected<ipc::UniqueFd> lock_state(const std::string& directory,
                                                 std::chrono::milliseconds wait);

/// Takes the lock on `<state>/children`, which every process that this one starts for its users
/// keeps open, and so locked, until it ends (ProcessTree::keep): the kernel itself tells when the
/// last process of an earlier supervisor is gone, whatever this one may see of /proc. Errors:
/// conflict if one is left after `wait`; storage_failed if the file cannot be made.
[[nodiscard]] Expected<ipc::UniqueFd> lock_children(const std::string& directory,
                                                    std::chrono::milliseconds wait);

/// Waits until no process of an earlier supervisor of this state directory is left, and ends those
/// that linger. They die with their supervisor (PDEATHSIG), but the kernel gives the lock up first.
/// They are recognised by their working directory, which the supervisor sets to the state directory
/// and forks inherit; that of a process which is not dumpable is seen with CAP_SYS_PTRACE only. So
/// without it they are not ended here, and lock_children() waits for them.
void wait_for_stragglers(const std::string& directory, std::chrono::milliseconds wait);

}  // namespace cosigner::supervisor
