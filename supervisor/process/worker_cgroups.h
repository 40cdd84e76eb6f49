#pragma once
// A cgroup (version 2) of its own for each worker, where the unit's subtree is delegated to this
// node (`Delegate=` of the systemd unit): memory.max and pids.max, which no process can lift, and
// the kernel's word on who was killed for want of memory. Where it is not, the rlimits of
// worker/sandbox stand alone.
//
//   <unit>/supervisor        this process, the zygote, the gateway: a cgroup that has controllers
//                            for its children may hold no process itself
//   <unit>/worker-<generation>
//
// Everything here is writing small files, so a test runs it in a directory laid out alike.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "ipc/error.h"

namespace cosigner::supervisor {

struct CgroupLimits {
  std::uint64_t memory_bytes = 1ULL << 30U;
  std::uint32_t tasks = 64;  ///< a worker has six threads, and one more while it drains its link
};

/// This process's cgroup directory if it is one of version 2 that was handed to this node: marked
/// as delegated (systemd's mark, or its owner), and writable. Else nothing, and `why` says why not.
[[nodiscard]] std::optional<std::string> delegated_cgroup(std::string& why);

/// What the cgroup of this worker is charged with, the kernel's own memory for it included; nothing
/// if the process has none of its own.
[[nodiscard]] std::optional<std::uint64_t> worker_cgroup_memory(
    pid_t pid, const std::string& proc = "/proc", const std::string& root = "/sys/fs/cgroup");

class WorkerCgroups {
 public:
  /// Moves this process (and its children) into `<unit>/supervisor`, switches the controllers on
  /// and removes what a run before has left. Errors: what could not be written.
  [[nodiscard]] static Expected<WorkerCgroups> open(std::string unit, CgroupLimits limits);

  /// Makes the cgroup that the worker of this generation is to be born into, with its limits: the
  /// zygote, being in `<unit>/supervisor`, looks for it there (worker/zygote/clone_into.h, which
  /// also says why nobody is moved once alive).
  [[nodiscard]] Expected<void> make(std::uint64_t generation) const;
  /// The kernel killed something in it because it was full.
  [[nodiscard]] bool ran_out_of_memory(std::uint64_t generation) const;
  /// Once it is reaped, or was never born.
  void leave(std::uint64_t generation) const;

 private:
  WorkerCgroups(std::string unit, CgroupLimits limits) : unit_(std::move(unit)), limits_(limits) {}
  [[nodiscard]] std::string directory(std::uint64_t generation) const;

  std::string unit_;
  CgroupLimits limits_;
};

}  // namespace cosigner::supervisor
