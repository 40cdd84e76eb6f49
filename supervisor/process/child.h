#pragma once
// A child process held by its pidfd: an exit is one readable descriptor, a signal cannot hit a
// recycled pid, and the cost of a death does not grow with the number of living children
// (libuv 1.44 would call waitpid once for each of them). Whoever holds a ChildProcess is the only
// one that reaps it; nobody calls waitpid(-1).

#include <sys/types.h>
#include <uv.h>

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "ipc/error.h"
#include "ipc/unique_fd.h"
#include "supervisor/process/fd_watch.h"

namespace cosigner::supervisor {

struct ExitStatus {
  bool signalled = false;
  int code = 0;  ///< exit code, or the signal's number

  [[nodiscard]] bool clean() const { return !signalled && code == 0; }
  /// "exit code 3", "signal 11 (Segmentation fault)".
  [[nodiscard]] std::string describe() const;
};

class ChildProcess {
 public:
  /// Called once, after the child has been reaped. May destroy the ChildProcess.
  using OnExit = std::function<void(ExitStatus)>;

  /// `pid` is a child of this process that nobody has reaped (so its number cannot have been
  /// recycled).
  [[nodiscard]] static Expected<std::unique_ptr<ChildProcess>> watch(uv_loop_t* loop, pid_t pid,
                                                                     OnExit on_exit);
  [[nodiscard]] pid_t pid() const { return pid_; }
  /// No effect once it has been reaped.
  void kill(int signal) const;

 private:
  ChildProcess(pid_t pid, ipc::UniqueFd pidfd, OnExit on_exit)
      : pid_(pid), pidfd_(std::move(pidfd)), on_exit_(std::move(on_exit)) {}
  void reap();

  pid_t pid_;
  ipc::UniqueFd pidfd_;
  OnExit on_exit_;
  std::unique_ptr<FdWatch> watch_;
};

/// Kills and reaps a child that could not be watched, and no other: those whose fork's result is
/// not read yet are as unknown. Blocks until the kernel has ended it.
void reap_child(pid_t pid);

/// Kills and reaps every child of this process that `known` does not list; for forks whose result
/// never came because the zygote died first. Blocks for as long as the kernel takes to end them.
/// Returns how many there were.
std::size_t reap_unknown_children(std::span<const pid_t> known);

}  // namespace cosigner::supervisor
