#include "supervisor/process/worker_cgroups.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "ipc/unique_fd.h"
#include "supervisor/process/file_contents.h"
#include "supervisor/process/sandbox_view.h"

namespace cosigner::supervisor {
namespace {

constexpr std::string_view kWorkerPrefix = "worker-";

/// One write(2): cgroupfs takes a value whole or not at all. Files are never created here.
Expected<void> put(const std::string& path, std::string_view value) {
  const ipc::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file ||
      ::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return fail(ErrorCode::kInternal, "cgroup: writing '" + std::string(value) + "' to " + path +
                                          ": " + std::strerror(errno));
  }
  return {};
}

/// The cgroup may be there already.
Expected<void> make_directory(const std::string& directory) {
  if (::mkdir(directory.c_str(), 0755) != 0 && errno != EEXIST) {
    return fail(ErrorCode::kInternal, "cgroup: making " + directory + ": " + std::strerror(errno));
  }
  return {};
}

bool is_delegated(const std::string& directory) {
  // To a node with a user of its own it was given: nobody but systemd or an administrator can do
  // that. Root owns every cgroup, so what counts there is systemd's mark: the first name takes a
  // privilege to read, the second a recent systemd.
  struct stat owner{};
  if (::geteuid() != 0) {
    return ::stat(directory.c_str(), &owner) == 0 && owner.st_uid == ::geteuid();
  }
  char value[2] = {};
  for (const char* name : {"trusted.delegate", "user.delegate"}) {
    if (::getxattr(directory.c_str(), name, value, sizeof value) == 1 && value[0] == '1') {
      return true;
    }
  }
  return false;
}

}  // namespace

std::optional<std::string> delegated_cgroup(std::string& why) {
  MeasuredSandbox own;
  read_cgroup(file_contents("/proc/self/cgroup"), own);
  struct statfs file_system{};
  if (!own.cgroup || ::statfs("/sys/fs/cgroup", &file_system) != 0 ||
      file_system.f_type != CGROUP2_SUPER_MAGIC) {
    why = "this host has no cgroup version 2 at /sys/fs/cgroup";
    return std::nullopt;
  }
  std::string directory = "/sys/fs/cgroup" + (*own.cgroup == "/" ? std::string() : *own.cgroup);
  if (!is_delegated(directory) || ::access(directory.c_str(), W_OK) != 0) {
    why = directory + " is not delegated to this node (Delegate= of the systemd unit)";
    return std::nullopt;
  }
  return directory;
}

std::optional<std::uint64_t> worker_cgroup_memory(pid_t pid, const std::string& proc,
                                                  const std::string& root) {
  MeasuredSandbox its;
  read_cgroup(file_contents(proc + "/" + std::to_string(pid) + "/cgroup"), its);
  if (!its.cgroup ||
      !std::filesystem::path(*its.cgroup).filename().string().starts_with(kWorkerPrefix)) {
    return std::nullopt;
  }
  const std::string text = file_contents(root + *its.cgroup + "/memory.current");
  std::uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  return error == std::errc() ? std::optional(bytes) : std::nullopt;
}

Expected<WorkerCgroups> WorkerCgroups::open(std::string unit, CgroupLimits limits) {
  const std::string own = unit + "/supervisor";
  if (auto made = make_directory(own); !made) {
    return std::unexpected(made.error());
  }
  // All that are in the unit's own cgroup: processes that start beside us would be in the way.
  std::string processes = file_contents(unit + "/cgroup.procs");
  for (std::string_view rest = processes; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    if (end > 0) {
      if (auto moved = put(own + "/cgroup.procs", rest.substr(0, end)); !moved) {
        return std::unexpected(moved.error());
      }
    }
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  const std::string control = unit + "/cgroup.subtree_control";
  if (put(control, "+memory +pids +cpu")) {
    // A worker that computes for ever has one share; the supervisor and the gateway, which serve
    // everybody, have ten.
    static_cast<void>(put(own + "/cpu.weight", "1000"));
  } else if (auto enabled = put(control, "+memory +pids"); !enabled) {
    return std::unexpected(enabled.error());
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(unit, ignored)) {
    if (entry.path().filename().string().starts_with(kWorkerPrefix)) {
      ::rmdir(entry.path().c_str());  // refused while a straggler lives there; nothing is lost
    }
  }
  return WorkerCgroups(std::move(unit), limits);
}

std::string WorkerCgroups::directory(std::uint64_t generation) const {
  return unit_ + "/" + std::string(kWorkerPrefix) + std::to_string(generation);
}

Expected<void> WorkerCgroups::make(std::uint64_t generation) const {
  const std::string own = directory(generation);
  if (auto made = make_directory(own); !made) {
    return made;
  }
  const std::pair<const char*, std::string> values[] = {
      {"/memory.max", std::to_string(limits_.memory_bytes)},
      {"/memory.oom.group", "1"},  // it has no part that could live on without the rest
      {"/pids.max", std::to_string(limits_.tasks)},
  };
  for (const auto& [file, value] : values) {
    if (auto written = put(own + file, value); !written) {
      leave(generation);
      return written;
    }
  }
  return {};
}

bool WorkerCgroups::ran_out_of_memory(std::uint64_t generation) const {
  constexpr std::string_view kName = "oom_kill ";
  const std::string events = file_contents(directory(generation) + "/memory.events");
  std::size_t at = events.starts_with(kName) ? 0 : events.find("\n" + std::string(kName));
  if (at == std::string::npos) {
    return false;
  }
  at = events.find(' ', at) + 1;
  std::uint64_t count = 0;
  std::from_chars(events.data() + at, events.data() + events.size(), count);
  return count > 0;
}

void WorkerCgroups::leave(std::uint64_t generation) const {
  ::rmdir(directory(generation).c_str());
}

}  // namespace cosigner::supervisor
