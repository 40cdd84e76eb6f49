#pragma once
// Background processes that outlive the program that started them, and ending exactly those: a pid
// alone may have been given to somebody else since, a pid with its start time has not.

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "ipc/error.h"

namespace cosigner::devcluster {

/// Names one process on this machine until the next boot.
struct ProcessIdentity {
  int pid = 0;
  std::uint64_t start_time = 0;  ///< clock ticks since boot: field 22 of /proc/PID/stat
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

struct LaunchOptions {
  std::vector<std::string> arguments;  ///< the first is the program: a path, or a name in PATH
  std::filesystem::path log;           ///< stdout and stderr are appended here
  std::map<std::string, std::string> environment;  ///< set in addition to the caller's
};

/// Starts a process in a session of its own (a terminal's Ctrl-C does not reach it), standard input
/// empty, no other descriptor inherited. Fails with `internal` and the system's reason.
[[nodiscard]] Expected<ProcessIdentity> launch(const LaunchOptions& options);

/// A zombie does not run.
[[nodiscard]] bool is_running(const ProcessIdentity& process);

/// Sends `signal` to exactly this process (pidfd). False if it is gone.
bool send_signal(const ProcessIdentity& process, int signal);

/// SIGTERM, then SIGKILL to those still there after `grace`; returns when all are gone (or, after
/// five seconds more, names those that are not).
[[nodiscard]] std::vector<ProcessIdentity> end_all(const std::vector<ProcessIdentity>& processes,
                                                   std::chrono::milliseconds grace);

}  // namespace cosigner::devcluster
