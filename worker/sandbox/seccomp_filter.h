#pragma once
// What the kernel still does for a worker or gateway: an allow-list made from what they were seen
// to call (strace of start, work, a broker's restart and leave), each with the narrowest arguments
// seccomp can check. Any other call is not made and ends the process with SIGSYS, by way of the
// crash handler that is in place when the filter is applied; it cannot be replaced afterwards.

#include <linux/filter.h>

#include <string>
#include <vector>

#include "ipc/error.h"

namespace cosigner::worker {

/// A compiled filter. Made once, in the zygote (libseccomp takes a millisecond and 100 KiB for it),
/// applied in every child with one system call.
class SeccompFilter {
 public:
  [[nodiscard]] static Expected<SeccompFilter> compile();
  /// For this thread and all it will start. Needs no_new_privs. Adds a second, tiny filter: signals
  /// may go to this process only.
  [[nodiscard]] Expected<void> apply() const;
  [[nodiscard]] std::size_t instructions() const { return program_.size(); }

 private:
  std::vector<sock_filter> program_;
};

}  // namespace cosigner::worker
