#pragma once
// fork(2) into a cgroup. Where the supervisor has made one for each worker
// (supervisor/process/worker_cgroups.h) the zygote lives in `<unit>/supervisor` and a worker in
// `<unit>/worker-<generation>`.

#include <sys/types.h>

#include <string>
#include <string_view>

namespace cosigner::worker {

/// The directory of `<unit>`, from the text of /proc/self/cgroup; empty if this process is not in
/// `<unit>/supervisor` of a hierarchy of version 2, mounted at `root`.
[[nodiscard]] std::string unit_of_zygote(std::string_view self,
                                         const std::string& root = "/sys/fs/cgroup");
/// The same for this process.
[[nodiscard]] std::string unit_of_zygote();

/// The child is born in `cgroup`, and so is whatever it forks. Plain fork() if there is no such
/// directory, and in a sanitizer build; also if the kernel refuses (before 5.7), and then stderr
/// says so. Like fork() of a process with one thread; the child may only fork() and _exit(), since
/// glibc does not know its thread id.
///
/// Where a filter answers clone3 with ENOSYS, as systemd's RestrictNamespaces= does (a filter
/// cannot look into its arguments), the child moves itself first. Moving a process once it lives
/// costs 5 to 17 ms (measured, 6.18: an RCU grace period), during which no process on the machine
/// forks or starts a thread.
[[nodiscard]] pid_t fork_into(const std::string& cgroup);

}  // namespace cosigner::worker
