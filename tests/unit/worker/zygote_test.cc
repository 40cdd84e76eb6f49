// Zygote: whose children the workers are, what they inherit, and that no two share randomness.

#include "worker/zygote/zygote.h"

#include <fcntl.h>
#include <openssl/rand.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "crypto/base/random.h"
#include "test_supervisor.h"
#include "tests/support/full.h"
#include "tests/support/refused_call.h"
#include "worker/zygote/child.h"
#include "worker/zygote/clone_into.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::test::TestChild;
using cosigner::test::TestSupervisor;

namespace {

std::string read_all(int fd) {
  std::string out;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) > 0;) {
    out.append(buffer, static_cast<std::size_t>(got));
  }
  return out;
}

int reap(pid_t pid) {
  int status = 0;
  REQUIRE(::waitpid(pid, &status, 0) == pid);
  return status;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t wrote = ::write(fd, text.data(), text.size());
    if (wrote <= 0) {
      ::_exit(1);
    }
    text.remove_prefix(static_cast<std::size_t>(wrote));
  }
}

}  // namespace

TEST_CASE("workers are the supervisor's own children and inherit next to nothing") {
  // Things a careless fork would hand down.
  const ipc::UniqueFd leaked(::dup(2));
  TestSupervisor supervisor([](const ipc::ForkOrder& order, int socket) {
    std::string report = std::to_string(::getpid()) + " " + std::to_string(::getppid());
    report += " dumpable=" + std::to_string(::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
    report += " no_new_privs=" + std::to_string(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    int death_signal = 0;
    ::prctl(PR_GET_PDEATHSIG, &death_signal);
    report += " pdeathsig=" + std::to_string(death_signal);
    rlimit core{};
    ::getrlimit(RLIMIT_CORE, &core);
    report += " core=" + std::to_string(core.rlim_max);
    char name[16] = {};
    ::prctl(PR_GET_NAME, name);
    report += " name=" + std::string(name);
    report += " fds=";
    for (int fd = 3; fd < 64; ++fd) {
      if (::fcntl(fd, F_GETFD) >= 0) {
        report += std::to_string(fd) + ",";
      }
    }
    report += " user=" + order.user + "/" + std::to_string(order.generation);
    write_all(socket, report);
    return 7;
  });
  auto child = supervisor.fork("alice", 42);
  CHECK(read_all(child.socket()) ==
        std::to_string(child.pid()) + " " + std::to_string(::getpid()) +
            " dumpable=0 no_new_privs=1 pdeathsig=9 core=0 name=cosigner: alice fds=3, "
            "user=alice/42");
  const int status = child.reap();  // ours to reap, nobody else's
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(WEXITSTATUS(supervisor.end()) == 0);
}

TEST_CASE(
    "a worker keeps the supervisor's lock until it ends, and nothing else beside its socket") {
  char path[] = "/tmp/cosigner-lock-XXXXXX";
  ipc::UniqueFd lock(::mkstemp(path));
  REQUIRE(lock);
  const auto held = [&path] {
    const ipc::UniqueFd probe(::open(path, O_RDONLY | O_CLOEXEC));
    REQUIRE(probe);
    return ::flock(probe.get(), LOCK_EX | LOCK_NB) != 0;
  };
  REQUIRE(::flock(lock.get(), LOCK_EX | LOCK_NB) == 0);
  TestSupervisor supervisor(
      [](const ipc::ForkOrder&, int socket) {
        std::string fds;
        for (int fd = 3; fd < 64; ++fd) {
          if (::fcntl(fd, F_GETFD) >= 0) {
            fds += std::to_string(fd) + ",";
          }
        }
        write_all(socket, fds + ".");
        char byte = 0;
        while (::read(socket, &byte, 1) > 0) {
        }
        return 0;
      },
      {}, [&] { worker::keep_lock(lock.get()); });
  auto child = supervisor.fork();
  std::string fds;
  for (char byte = 0; byte != '.'; fds += byte) {
    REQUIRE(::read(child.socket(), &byte, 1) == 1);
  }
  CHECK(fds == "3,5,.");
  lock.reset();
  CHECK(held());
  CHECK(WEXITSTATUS(supervisor.end()) == 0);
  CHECK(held());  // by the worker alone
  child.hang_up();
  CHECK(child.reap() == 0);
  CHECK_FALSE(held());
  ::unlink(path);
}

TEST_CASE("the first random bytes of forked workers all differ") {
  const int forks = cosigner::test::rounds(1000, 10'000);
  TestSupervisor supervisor([](const ipc::ForkOrder&, int socket) {
    std::uint8_t openssl[16];
    RAND_bytes(openssl, sizeof openssl);
    SystemRandom random;
    const auto sodium = random.bytes<Bytes<16>>();
    write_all(socket, as_text({openssl, sizeof openssl}));
    write_all(socket, as_text(sodium.view()));
    return 0;
  });
  std::set<std::string> seen;
  for (int i = 0; i < forks; ++i) {
    auto child = supervisor.fork();
    const std::string drawn = read_all(child.socket());
    REQUIRE(drawn.size() == 32);
    REQUIRE(seen.insert(drawn.substr(0, 16)).second);
    REQUIRE(seen.insert(drawn.substr(16)).second);
    REQUIRE(child.reap() == 0);
  }
}

TEST_CASE("a child's exception or signal ends that child alone") {
  TestSupervisor supervisor([](const ipc::ForkOrder& order, int) -> int {
    if (order.user == "throws") {
      throw std::runtime_error("thrown on purpose by a test");
    }
    if (order.user == "crashes") {
      ::raise(SIGSEGV);
    }
    return 0;
  });
  const int thrown = supervisor.fork("throws").reap();
  CHECK(WIFEXITED(thrown));
  CHECK(WEXITSTATUS(thrown) == 70);
  const int crashed = supervisor.fork("crashes").reap();
  CHECK(WIFSIGNALED(crashed));
  CHECK(WTERMSIG(crashed) == SIGSEGV);
  CHECK(supervisor.fork("fine").reap() == 0);
}

TEST_CASE("workers live on when the zygote ends, and neither leaves a zombie") {
  TestSupervisor supervisor([](const ipc::ForkOrder&, int socket) {
    read_all(socket);
    return 0;
  });
  auto child = supervisor.fork();
  CHECK(supervisor.end() == 0);
  CHECK(::kill(child.pid(), 0) == 0);
  child.hang_up();
  CHECK(child.reap() == 0);
  CHECK(::waitpid(-1, nullptr, WNOHANG) == -1);  // no child is left, the intermediates included
  CHECK(errno == ECHILD);
}

TEST_CASE("workers die with their supervisor") {
  auto pair = ipc::socket_pair(SOCK_STREAM);
  REQUIRE(pair);
  // A supervisor of its own, which dies without a word while its worker does not watch its socket.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const pid_t middle = ::fork();
  if (middle == 0) {
    pair->first.reset();
    TestSupervisor supervisor([](const ipc::ForkOrder&, int socket) {
      write_all(socket, "!");  // past enter_child(): from here on only the kernel ends it
      ::sleep(60);
      return 0;
    });
    auto child = supervisor.fork();
    char begun = 0;
    if (::read(child.socket(), &begun, 1) != 1) {
      ::_exit(1);
    }
    write_all(pair->second.get(), std::to_string(child.pid()));
    ::kill(::getpid(), SIGKILL);
  }
  pair->second.reset();
  const pid_t worker = std::stoi(read_all(pair->first.get()));
  CHECK(WTERMSIG(reap(middle)) == SIGKILL);
  CHECK(WTERMSIG(reap(worker)) == SIGKILL);  // adopted by this process
}

TEST_CASE("the zygote finds the workers' cgroups beside its own, if it has one") {
  CHECK(unit_of_zygote("9:memory:/x\n0::/system.slice/cosigner.service/supervisor\n", "/c") ==
        "/c/system.slice/cosigner.service");
  CHECK(unit_of_zygote("0::/system.slice/cosigner.service\n", "/c").empty());
  CHECK(unit_of_zygote("0::/\n", "/c").empty());
  CHECK(unit_of_zygote("1:name=systemd:/x/supervisor\n", "/c").empty());
  CHECK(unit_of_zygote("", "/c").empty());
}

#ifndef COSIGNER_SANITIZED  // those builds fork plainly

TEST_CASE("a worker is born into its cgroup, and the zygote stays where it is") {
  // In a mount namespace of this process's own: the machine's cgroups may be of version 1 only.
  const auto root =
      std::filesystem::temp_directory_path() / ("cosigner-cgroup2-" + std::to_string(::getpid()));
  std::filesystem::create_directories(root);
  if (::unshare(CLONE_NEWNS) != 0 ||
      ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::mount("none", root.c_str(), "cgroup2", 0, nullptr) != 0) {
    WARN("skipped: mounting cgroup2 needs root and a kernel that has it");
    std::filesystem::remove(root);
    return;
  }
  const auto unit = root / ("cosigner-test-" + std::to_string(::getpid()));
  const auto leaf = unit / "worker-7";
  std::filesystem::create_directories(leaf);
  const auto refuse_clone3 = [] {  // as RestrictNamespaces= of the unit does
    if (!test::refuse_call(SYS_clone3, ENOSYS)) {
      ::_exit(1);
    }
  };
  for (const bool refused : {false, true}) {
    INFO("clone3 refused: " << refused);
    TestSupervisor supervisor(
        [](const ipc::ForkOrder&, int socket) {
          std::ifstream file("/proc/self/cgroup");
          write_all(socket, std::string(std::istreambuf_iterator<char>(file), {}));
          return 0;
        },
        unit, refused ? std::function<void()>(refuse_clone3) : [] {});
    const auto born = [&](std::uint64_t generation) {
      auto child = supervisor.fork("alice", generation);
      const std::string report = read_all(child.socket());
      CHECK(child.reap() == 0);
      return report;
    };
    const std::string line = "0::/" + unit.filename().string() + "/worker-7\n";
    CHECK(born(7).find(line) != std::string::npos);
    // Who has none lives all the same, where the zygote does.
    CHECK(born(8).find("worker-7") == std::string::npos);
  }
  CHECK(std::filesystem::remove(leaf));  // empty: the kernel agrees
  CHECK(std::filesystem::remove(unit));
  CHECK(::umount(root.c_str()) == 0);
  std::filesystem::remove(root);
}

#endif

TEST_CASE("an order without a socket ends the zygote: the supervisor starts a new one") {
  auto pair = ipc::socket_pair(SOCK_SEQPACKET);
  REQUIRE(pair);
  const pid_t zygote = ::fork();
  if (zygote == 0) {
    pair->first.reset();
    ::close(2);
    ::_exit(run_zygote(pair->second.get(), [](const ipc::ForkOrder&, int) { return 0; }));
  }
  pair->second.reset();
  REQUIRE(ipc::receive_packet(pair->first.get()));
  REQUIRE(ipc::send_packet(pair->first.get(), *ipc::encode_frame(ipc::ForkOrder{}, 0)));
  CHECK(WEXITSTATUS(reap(zygote)) == 70);
}
