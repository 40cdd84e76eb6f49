// Walls as measured from /proc, the supervisor's own, and the workers' cgroups.

#include "supervisor/process/sandbox_view.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "ipc/map_reader.h"
#include "supervisor/process/own_sandbox.h"
#include "supervisor/process/resident_memory.h"
#include "supervisor/process/worker_cgroups.h"

using namespace cosigner;
using namespace cosigner::supervisor;

namespace {

constexpr const char* kStatus =
    "Name:\tcosigner: alice\nUid:\t1000\t1000\t1000\t1000\nVmLck:\t      12 kB\nThreads:\t7\n"
    "CapEff:\t0000000000000000\nCapBnd:\t000000000000000a\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    "Seccomp_filters:\t3\n";
constexpr const char* kLimits =
    "Limit                     Soft Limit           Hard Limit           Units     \n"
    "Max data size             1073741824           1073741824           bytes     \n"
    "Max core file size        0                    0                    bytes     \n"
    "Max open files            64                   64                   files     \n"
    "Max locked memory         unlimited            unlimited            bytes     \n";

MeasuredSandbox walled() {
  MeasuredSandbox out;
  read_status(kStatus, out);
  read_limits(kLimits, out);
  out.dumpable = false;
  return out;
}

class Folder {
 public:
  Folder()
      : path_(std::filesystem::temp_directory_path() /
              ("cosigner-cgroup-" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ / name; }
  [[nodiscard]] std::string path() const { return path_; }
  void write(const std::string& name, const std::string& text = "") const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ifstream file(path_ / name);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::filesystem::path path_;
};

/// The files that the kernel puts into a new cgroup.
void lay_out(const Folder& folder, const std::string& name) {
  for (const char* file : {"cgroup.procs", "cgroup.subtree_control", "memory.max",
                           "memory.oom.group", "pids.max", "cpu.weight"}) {
    folder.write(name + "/" + file);
  }
  folder.write(name + "/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 0\n");
}

}  // namespace

TEST_CASE("sandbox view: what /proc says is read") {
  const MeasuredSandbox measured = walled();
  CHECK(measured.no_new_privs == true);
  CHECK(measured.seccomp_mode == 2U);
  CHECK(measured.seccomp_filters == 3U);
  CHECK(measured.capabilities == 0U);
  CHECK(measured.capability_bounds == 0xaU);
  CHECK(measured.threads == 7U);
  CHECK(measured.locked_bytes == 12U * 1024);
  CHECK(measured.limit_files == 64U);
  CHECK(measured.limit_data_bytes == 1U << 30U);
  CHECK(measured.limit_core_bytes == 0U);
  CHECK(measured.limit_locked_bytes == UINT64_MAX);
  MeasuredSandbox cgroup;
  read_cgroup("9:name=systemd:/x\n0::/system.slice/cosigner.service/worker-7\n", cgroup);
  CHECK(cgroup.cgroup == "/system.slice/cosigner.service/worker-7");
}

TEST_CASE("sandbox view: a wall that is missing, or cannot be measured, is named") {
  CHECK(missing_walls(walled()).empty());
  // Of a process that may not be looked at nothing is claimed.
  const auto hidden = missing_walls({});
  REQUIRE(hidden.size() == 1);
  CHECK(hidden[0].find("could not be read") != std::string::npos);
  const auto without = [](auto change) {
    MeasuredSandbox measured = walled();
    change(measured);
    const auto missing = missing_walls(measured);
    REQUIRE(missing.size() == 1);
    return missing[0];
  };
  CHECK(without([](auto& m) { m.no_new_privs = false; }).find("no_new_privs") != std::string::npos);
  CHECK(without([](auto& m) { m.seccomp_mode = 0; }).find("seccomp") != std::string::npos);
  CHECK(without([](auto& m) { m.capabilities = 1; }).find("capabilities") != std::string::npos);
  CHECK(without([](auto& m) { m.dumpable = true; }).find("dumpable") != std::string::npos);
  CHECK(without([](auto& m) { m.limit_core_bytes = 1; }).find("core") != std::string::npos);
  CHECK(without([](auto& m) { m.limit_files = UINT64_MAX; }).find("descr") != std::string::npos);
  CHECK(without([](auto& m) { m.limit_data_bytes = {}; }).find("memory") != std::string::npos);
}

TEST_CASE("sandbox view: a process is measured, one that is gone is not made up") {
  const MeasuredSandbox own = measure_sandbox(::getpid());
  CHECK(own.threads >= 1U);
  CHECK(own.limit_files > 0U);
  CHECK_FALSE(missing_walls(own).empty());  // a test program has no walls
  CHECK(resident_memory(::getpid()) > 100'000U);
  CHECK_FALSE(resident_memory(0x7ffffff0));
  const MeasuredSandbox nobody = measure_sandbox(0x7ffffff0);
  CHECK_FALSE(nobody.no_new_privs);
  CHECK_FALSE(nobody.limit_files);
  const ByteVector packed = pack_sandbox(walled(), ipc::Sandboxed{.landlock = 4});
  const auto tree = ipc::Tree::parse(packed);
  REQUIRE(tree);
  ipc::MapReader reader(tree->root(), "sandbox");
  CHECK(reader.boolean("no_new_privs"));
  CHECK(reader.unsigned_integer("landlock_said") == 4);
  CHECK(reader.array("missing", 10).empty());
  const ByteVector refused = pack_sandbox(walled(), ipc::Sandboxed{.landlock_refused = true});
  const auto other = ipc::Tree::parse(refused);
  REQUIRE(other);
  CHECK(ipc::MapReader(other->root(), "sandbox").array("missing", 10).size() == 1);
}

#ifndef COSIGNER_SANITIZED

TEST_CASE("the supervisor's own sandbox, seen from outside and tried from inside") {
  int ready[2];
  int done[2];
  REQUIRE(::pipe(ready) == 0);
  REQUIRE(::pipe(done) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    char outcome = enter_own_sandbox() ? '+' : '-';
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0 || errno != EPERM ||
        ::syscall(SYS_bpf, 0, nullptr, 0) >= 0 || errno != EPERM ||
        ::syscall(SYS_unshare, 0) == 0 || errno != EPERM ||
        ::syscall(SYS_io_uring_setup, 1, nullptr) >= 0 || errno != EPERM) {
      outcome = '!';
    }
    // What it needs goes on: files, sockets, children.
    const pid_t grandchild = ::fork();
    if (grandchild == 0) {
      ::execl("/bin/true", "true", nullptr);
      ::_exit(1);
    }
    int status = 1;
    ::waitpid(grandchild, &status, 0);
    outcome = status == 0 && std::ifstream("/proc/self/status").good() ? outcome : '?';
    char byte = 0;
    static_cast<void>(::write(ready[1], &outcome, 1) + ::read(done[0], &byte, 1));
    ::_exit(0);
  }
  char outcome = 0;
  REQUIRE(::read(ready[0], &outcome, 1) == 1);
  CHECK(outcome == '+');
  const MeasuredSandbox measured = measure_sandbox(child);
  CHECK(measured.no_new_privs == true);
  CHECK(measured.seccomp_mode == 2U);
  CHECK((measured.capabilities.value_or(UINT64_MAX) & ~(1ULL << 19U)) == 0);  // CAP_SYS_PTRACE
  CHECK((::geteuid() != 0 || (*measured.capability_bounds & ~(1ULL << 19U)) == 0));
  CHECK(measured.limit_core_bytes == 0U);
  REQUIRE(::write(done[1], "x", 1) == 1);
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  for (const int fd : {ready[0], ready[1], done[0], done[1]}) {
    ::close(fd);
  }
}

#endif

TEST_CASE("cgroups: a worker's own, in a directory laid out like cgroupfs") {
  const Folder unit;
  lay_out(unit, ".");
  lay_out(unit, "supervisor");
  unit.write("cgroup.procs", std::to_string(::getpid()) + "\n");
  std::filesystem::create_directories(unit / "worker-3");  // of a run before
  const auto cgroups = WorkerCgroups::open(unit.path(), {.memory_bytes = 123456, .tasks = 17});
  REQUIRE(cgroups);
  CHECK(unit.read("supervisor/cgroup.procs") == std::to_string(::getpid()));
  CHECK(unit.read("cgroup.subtree_control") == "+memory +pids +cpu");
  CHECK(unit.read("supervisor/cpu.weight") == "1000");
  CHECK_FALSE(std::filesystem::exists(unit / "worker-3"));

  lay_out(unit, "worker-8");
  REQUIRE(cgroups->make(8));
  CHECK(unit.read("worker-8/memory.max") == "123456");
  CHECK(unit.read("worker-8/memory.oom.group") == "1");
  CHECK(unit.read("worker-8/pids.max") == "17");
  CHECK_FALSE(cgroups->ran_out_of_memory(8));
  unit.write("worker-8/memory.events", "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n");
  CHECK(cgroups->ran_out_of_memory(8));
  CHECK_FALSE(cgroups->ran_out_of_memory(9));

  SECTION("a controller that is not there is an error that names the file") {
    std::filesystem::create_directories(unit / "worker-10");
    const auto refused = cgroups->make(10);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message.find("worker-10/memory.max") != std::string::npos);
  }
  SECTION("an empty one is removed") {
    std::filesystem::create_directories(unit / "worker-11");
    cgroups->leave(11);
    CHECK_FALSE(std::filesystem::exists(unit / "worker-11"));
  }
}

TEST_CASE(
    "cgroups: what a worker's is charged with, for a node that may not look into its workers") {
  const Folder root;
  root.write("proc/7/cgroup", "0::/cosigner.service/worker-12\n");
  root.write("proc/8/cgroup", "0::/cosigner.service/supervisor\n");
  root.write("proc/9/cgroup", "0::/cosigner.service/worker-13\n");
  root.write("cgroup/cosigner.service/worker-12/memory.current", "425984\n");
  root.write("cgroup/cosigner.service/supervisor/memory.current", "1\n");
  const auto of = [&](pid_t pid) {
    return worker_cgroup_memory(pid, root / "proc", root / "cgroup");
  };
  CHECK(of(7) == 425984U);
  CHECK_FALSE(of(8));
  CHECK_FALSE(of(9));  // gone in this moment
  CHECK_FALSE(of(10));
}

TEST_CASE("cgroups: this machine's own, if it is delegated") {
  std::string why;
  const auto unit = delegated_cgroup(why);
  if (!unit) {
    WARN("skipped: " + why);
    CHECK_FALSE(why.empty());
    return;
  }
  CHECK(std::filesystem::exists(*unit + "/cgroup.procs"));
}
