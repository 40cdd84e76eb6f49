#include "supervisor/process/child.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "supervisor/process/pidfd.h"

namespace cosigner::supervisor {
namespace {

ExitStatus to_status(const siginfo_t& info) {
  return {.signalled = info.si_code != CLD_EXITED, .code = info.si_status};
}

/// Children of every thread of this process (proc_pid_children(5) of each task).
std::vector<pid_t> children() {
  std::vector<pid_t> found;
  std::error_code error;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
    std::ifstream list(task.path() / "children");
    pid_t pid = 0;
    while (list >> pid) {
      found.push_back(pid);
    }
  }
  return found;
}

}  // namespace

std::string ExitStatus::describe() const {
  if (!signalled) {
    return "exit code " + std::to_string(code);
  }
  return "signal " + std::to_string(code) + " (" + strsignal(code) + ")";
}

Expected<std::unique_ptr<ChildProcess>> ChildProcess::watch(uv_loop_t* loop, pid_t pid,
                                                            OnExit on_exit) {
  ipc::UniqueFd pidfd(pidfd_open(pid, 0));
  if (!pidfd) {
    return fail(ErrorCode::kInternal,
                "pidfd_open of process " + std::to_string(pid) + ": " + std::strerror(errno));
  }
  std::unique_ptr<ChildProcess> child(new ChildProcess(pid, std::move(pidfd), std::move(on_exit)));
  auto watch = FdWatch::open(loop, child->pidfd_.get(), [raw = child.get()](int) { raw->reap(); });
  if (!watch) {
    return std::unexpected(watch.error());
  }
  child->watch_ = std::move(*watch);
  child->watch_->want(UV_READABLE);
  return child;
}

void ChildProcess::kill(int signal) const {
  if (pidfd_) {
    pidfd_send_signal(pidfd_.get(), signal, nullptr, 0);
  }
}

void ChildProcess::reap() {
  siginfo_t info{};
  if (waitid(P_PIDFD, static_cast<id_t>(pidfd_.get()), &info, WEXITED | WNOHANG) != 0 ||
      info.si_pid == 0) {
    return;
  }
  watch_.reset();
  pidfd_.reset();
  const OnExit on_exit = std::move(on_exit_);
  on_exit(to_status(info));
}

void reap_child(pid_t pid) {
  ::kill(pid, SIGKILL);
  siginfo_t info{};
  while (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0 && errno == EINTR) {
  }
}

std::size_t reap_unknown_children(std::span<const pid_t> known) {
  std::size_t count = 0;
  for (bool again = true; again;) {
    again = false;
    for (const pid_t pid : children()) {
      if (std::ranges::find(known, pid) != known.end()) {
        continue;
      }
      ::kill(pid, SIGKILL);
      siginfo_t info{};
      if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) == 0) {
        ++count;
        again = true;  // its own children are ours now
      }
    }
  }
  return count;
}

}  // namespace cosigner::supervisor
