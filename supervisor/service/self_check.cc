#include "supervisor/service/self_check.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "ipc/landlock.h"
#include "ipc/pack.h"
#include "supervisor/service/node.h"
#include "supervisor/store/structure_check.h"

namespace cosigner::supervisor {
namespace {

constexpr std::chrono::milliseconds kPatience{2000};
/// "There is no limit", as RLIM_INFINITY says it.
constexpr std::uint64_t kUnlimited = UINT64_MAX;

std::uint64_t limit_of(__rlimit_resource resource) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  return limit.rlim_cur;
}

/// The narrowest pids.max of this process's cgroup and those above it (TasksMax= of the unit): the
/// delegated leaf itself may have none.
std::uint64_t tasks_limit() {
  std::ifstream file("/proc/self/cgroup");
  std::uint64_t narrowest = kUnlimited;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("0::")) {
      continue;  // a controller of cgroup v1
    }
    const std::filesystem::path root = "/sys/fs/cgroup";
    for (std::filesystem::path group = line.substr(3); group.has_relative_path();
         group = group.parent_path()) {
      std::ifstream limit(root / group.relative_path() / "pids.max");
      if (std::uint64_t tasks = 0; limit >> tasks) {  // or "max"
        narrowest = std::min(narrowest, tasks);
      }
    }
  }
  return narrowest;
}

/// The line of /proc/PID/status that begins with `name`.
std::string status_field(pid_t pid, std::string_view name) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(std::string(name) + ":")) {
      const auto value = line.find_first_not_of(" \t", name.size() + 1);
      return value == std::string::npos ? "" : line.substr(value);
    }
  }
  return {};
}

struct Job {
  uv_work_t work{};
  std::string state_directory;
  std::uint64_t max_workers = 0;
  std::uint64_t workers_asked = 0;
  pid_t gateway = 0;
  std::shared_ptr<bool> alive;
  std::function<void(const ByteVector&)> done;
  ByteVector body;

  void run() {
    const StructureReport store = check_structure(state_directory + "/cosigner.db", kPatience);
    struct statvfs space{};
    const ipc::Landlock landlock = ipc::ask_landlock();
    const bool known = ::statvfs(state_directory.c_str(), &space) == 0;
    body = ipc::MapPacker()
               .raw("store", ipc::MapPacker()
                                 .text("structure", soundness_name(store.soundness))
                                 .text("detail", store.detail)
                                 .finish())
               .unsigned_integer("free_bytes",
                                 known ? std::uint64_t{space.f_bavail} * space.f_frsize : 0)
               .unsigned_integer("wall_ms", wall_ms())
               .unsigned_integer("max_workers", max_workers)
               .unsigned_integer("workers_asked", workers_asked)
               .raw("limits", ipc::MapPacker()
                                  .unsigned_integer("descriptors", limit_of(RLIMIT_NOFILE))
                                  .unsigned_integer("processes", limit_of(RLIMIT_NPROC))
                                  .unsigned_integer("tasks", tasks_limit())
                                  .unsigned_integer("locked_memory", limit_of(RLIMIT_MEMLOCK))
                                  .text("locked_here", status_field(::getpid(), "VmLck"))
                                  .finish())
               .raw("sandbox", ipc::MapPacker()
                                   .text("seccomp", status_field(gateway, "Seccomp"))
                                   .text("no_new_privileges", status_field(gateway, "NoNewPrivs"))
                                   .unsigned_integer("landlock", landlock.version)
                                   .boolean("landlock_refused", landlock.refused)
                                   .finish())
               .finish();
  }
};

}  // namespace

void SelfCheck::run(Done done) {
  asking_.push_back(std::move(done));
  if (asking_.size() > 1) {
    return;
  }
  auto* job = new Job;
  job->state_directory = node_.config().state_directory;
  job->max_workers = node_.config().workers.max_workers;
  job->workers_asked = std::max(node_.config().workers_asked, node_.config().workers.max_workers);
  job->gateway = node_.gateway().pid();
  job->alive = alive_;
  job->done = [this](const ByteVector& body) {
    for (const Done& answer : std::exchange(asking_, {})) {
      answer(body);
    }
  };
  job->work.data = job;
  uv_queue_work(
      node_.loop(), &job->work, [](uv_work_t* work) { static_cast<Job*>(work->data)->run(); },
      [](uv_work_t* work, int) {
        const std::unique_ptr<Job> self(static_cast<Job*>(work->data));
        if (*self->alive) {
          self->done(self->body);
        }
      });
}

}  // namespace cosigner::supervisor
