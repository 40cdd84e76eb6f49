#include "worker/zygote/clone_into.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>

#include "ipc/unique_fd.h"

namespace cosigner::worker {

std::string unit_of_zygote(std::string_view self, const std::string& root) {
  constexpr std::string_view kVersion2 = "0::";
  constexpr std::string_view kOwn = "/supervisor";
  while (!self.empty()) {
    const std::size_t end = std::min(self.find('\n'), self.size());
    std::string_view line = self.substr(0, end);
    if (line.starts_with(kVersion2) && line.ends_with(kOwn)) {
      line.remove_prefix(kVersion2.size());
      line.remove_suffix(kOwn.size());
      return root + std::string(line);
    }
    self.remove_prefix(std::min(end + 1, self.size()));
  }
  return {};
}

std::string unit_of_zygote() {
  std::ifstream file("/proc/self/cgroup");
  return unit_of_zygote(std::string(std::istreambuf_iterator<char>(file), {}));
}

#ifndef COSIGNER_SANITIZED
namespace {

/// The child moves itself before it does anything else, and what it forks is born where it then is.
pid_t fork_and_move(int cgroup) {
  const pid_t child = ::fork();
  if (child != 0) {
    return child;
  }
  const ipc::UniqueFd processes(::openat(cgroup, "cgroup.procs", O_WRONLY | O_CLOEXEC));
  if (!processes || ::write(processes.get(), "0", 1) != 1) {
    std::fprintf(stderr, "cosigner zygote: a worker starts outside of its cgroup: %s\n",
                 std::strerror(errno));
  }
  return 0;
}

}  // namespace
#endif

pid_t fork_into(const std::string& cgroup) {
#ifndef COSIGNER_SANITIZED
  const ipc::UniqueFd directory(
      cgroup.empty() ? -1 : ::open(cgroup.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (directory) {
    clone_args arguments{};
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = SIGCHLD;
    arguments.cgroup = static_cast<__u64>(directory.get());
    const long child = ::syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child >= 0) {
      return static_cast<pid_t>(child);
    }
    if (errno == ENOSYS) {
      return fork_and_move(directory.get());
    }
    std::fprintf(stderr, "cosigner zygote: a worker starts outside of %s: %s\n", cgroup.c_str(),
                 std::strerror(errno));
  }
#endif
  static_cast<void>(cgroup);
  return ::fork();
}

}  // namespace cosigner::worker
