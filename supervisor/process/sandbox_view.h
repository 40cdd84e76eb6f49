#pragma once
// The walls around a process as the kernel shows them in /proc, not as they were meant. What /proc
// does not show (landlock) is what the process said when it had put it up.

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/pack.h"
#include "ipc/sandboxed.h"

namespace cosigner::supervisor {

/// Each field is empty if it could not be read.
struct MeasuredSandbox {
  std::optional<bool> no_new_privs;
  std::optional<std::uint64_t> seccomp_mode;  ///< 0 none, 1 strict, 2 filter
  std::optional<std::uint64_t> seccomp_filters;
  std::optional<std::uint64_t> capabilities;  ///< effective, one bit each
  std::optional<std::uint64_t> capability_bounds;
  std::optional<std::uint64_t> threads;
  std::optional<std::uint64_t> locked_bytes;
  /// The kernel gives the /proc files of a process that is not dumpable to root; nothing where
  /// root's own processes are asked about, since theirs are root's anyway.
  std::optional<bool> dumpable;
  // Soft limits; UINT64_MAX: unlimited.
  std::optional<std::uint64_t> limit_files;
  std::optional<std::uint64_t> limit_data_bytes;
  std::optional<std::uint64_t> limit_core_bytes;
  std::optional<std::uint64_t> limit_locked_bytes;
  std::optional<std::string> cgroup;  ///< the path in version 2's hierarchy
};

/// From the text of /proc/PID/status, limits and cgroup.
void read_status(std::string_view text, MeasuredSandbox& out);
void read_limits(std::string_view text, MeasuredSandbox& out);
void read_cgroup(std::string_view text, MeasuredSandbox& out);

/// `proc`: where procfs is mounted.
[[nodiscard]] MeasuredSandbox measure_sandbox(pid_t pid, const std::string& proc = "/proc");

/// Which walls that every worker has do not stand, in words; empty: all that can be measured do.
/// Where nothing can be read that is said, and nothing about the walls.
[[nodiscard]] std::vector<std::string> missing_walls(const MeasuredSandbox& measured);

/// As a msgpack map; `said`: by the process itself, nothing if it has not (yet).
[[nodiscard]] ByteVector pack_sandbox(const MeasuredSandbox& measured,
                                      const std::optional<ipc::Sandboxed>& said);

}  // namespace cosigner::supervisor
