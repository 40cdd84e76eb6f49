#include "supervisor/process/state_lock.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "supervisor/process/pidfd.h"

namespace cosigner::supervisor {
namespace {

constexpr auto kPause = std::chrono::milliseconds(10);

/// Processes of other supervisors whose working directory is `directory`.
std::vector<ipc::UniqueFd> stragglers(const struct stat& directory) {
  std::vector<ipc::UniqueFd> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    const pid_t pid = static_cast<pid_t>(std::stol(name));
    struct stat cwd{};
    if (pid == ::getpid() || ::stat((entry.path() / "cwd").c_str(), &cwd) != 0 ||
        cwd.st_dev != directory.st_dev || cwd.st_ino != directory.st_ino) {
      continue;
    }
    std::string program;
    std::getline(std::ifstream(entry.path() / "cmdline"), program, '\0');
    if (!program.starts_with("cosigner")) {
      continue;  // an operator's shell
    }
    ipc::UniqueFd pidfd(pidfd_open(pid, 0));
    if (pidfd) {
      found.push_back(std::move(pidfd));
    }
  }
  return found;
}

/// Read-only: the holders of the lock are not to write anything there.
Expected<ipc::UniqueFd> lock_file(const std::string& path, std::chrono::milliseconds wait,
                                  const std::string& taken) {
  ipc::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return fail(ErrorCode::kStorageFailed, path + " cannot be opened: " + std::strerror(errno) +
                                               " (check state_directory and its permissions)");
  }
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() >= deadline) {
      return fail(ErrorCode::kConflict, taken);
    }
    std::this_thread::sleep_for(kPause);
  }
  return fd;
}

}  // namespace

Expected<ipc::UniqueFd> lock_state(const std::string& directory, std::chrono::milliseconds wait) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  return lock_file(directory + "/lock", wait,
                   "another cosignerd runs with state directory " + directory);
}

Expected<ipc::UniqueFd> lock_children(const std::string& directory,
                                      std::chrono::milliseconds wait) {
  return lock_file(directory + "/children", wait,
                   "processes of an earlier cosignerd with state directory " + directory +
                       " have not ended (fuser -v " + directory + "/children names them)");
}

void wait_for_stragglers(const std::string& directory, std::chrono::milliseconds wait) {
  struct stat info{};
  if (::stat(directory.c_str(), &info) != 0) {
    return;
  }
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (;;) {
    const std::vector<ipc::UniqueFd> left = stragglers(info);
    if (left.empty()) {
      return;
    }
    const bool over = std::chrono::steady_clock::now() >= deadline;
    for (const ipc::UniqueFd& pidfd : left) {
      if (over) {
        pidfd_send_signal(pidfd.get(), SIGKILL, nullptr, 0);
      }
      pollfd ended{.fd = pidfd.get(), .events = POLLIN, .revents = 0};
      ::poll(&ended, 1, 100);
    }
    if (over) {
      return;
    }
  }
}

}  // namespace cosigner::supervisor
