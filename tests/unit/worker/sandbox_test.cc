// The sandbox from inside: what a worker must not do ends it with SIGSYS or is refused, and what
// it needs still works.

#include "worker/sandbox/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <functional>
#include <thread>
#include <vector>

#include "ipc/zygote_messages.h"
#include "nats_server.h"
#include "test_supervisor.h"
#include "tests/support/refused_call.h"
#include "worker/exit_status.h"
#include "worker/nats/broker_connection.h"

using namespace cosigner;
using namespace cosigner::worker;
using cosigner::test::NatsServer;
using cosigner::test::TestChild;
using cosigner::test::TestSupervisor;

TEST_CASE("the broker's port is read from its URL") {
  CHECK(broker_port("nats://127.0.0.1:4333") == 4333);
  CHECK(broker_port("nats://localhost") == 4222);
  CHECK(broker_port("nats://127.0.0.1:") == 0);
  CHECK(broker_port("nats://127.0.0.1:99999") == 0);
}

#ifndef COSIGNER_SANITIZED  // sanitizer builds relax the sandbox

namespace {

struct Crime {
  std::string name;
  std::function<bool()> commit;  ///< true: it was possible
};

// Another worker's process, which a criminal knows of.
pid_t neighbour = 0;

int connect_to(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int status = ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::close(fd);
  return status == 0 ? 0 : error;
}

// Killed by SIGSYS.
const std::vector<Crime>& deadly() {
  static const std::vector<Crime> crimes = {
      {"open a file", [] { return ::open("/etc/passwd", O_RDONLY) >= 0; }},
      {"create a file", [] { return ::open("/tmp/cosigner-crime", O_CREAT | O_RDWR, 0600) >= 0; }},
      {"look for a file", [] { return ::access("/etc/passwd", R_OK) == 0; }},
      {"remove a file", [] { return ::unlink("/tmp/cosigner-crime") == 0; }},
      {"run a program",
       [] {
         char* const arguments[] = {nullptr};
         return ::execve("/bin/true", arguments, arguments) == 0;
       }},
      {"fork", [] { return ::syscall(SYS_fork) >= 0; }},
      {"clone a process", [] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0; }},
      {"signal the supervisor", [] { return ::kill(::getppid(), 0) == 0; }},
      {"signal the supervisor's thread",
       [] { return ::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0) == 0; }},
      {"trace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }},
      {"read another's memory",
       [] {
         char byte = 0;
         iovec mine{&byte, 1};
         iovec theirs{&byte, 1};
         return ::process_vm_readv(::getppid(), &mine, 1, &theirs, 1, 0) == 1;
       }},
      {"read a neighbour's memory",
       [] {
         char byte = 0;
         iovec mine{&byte, 1};
         iovec theirs{&byte, 1};
         return ::process_vm_readv(neighbour, &mine, 1, &theirs, 1, 0) == 1;
       }},
      {"write a neighbour's memory",
       [] {
         char byte = 0;
         iovec mine{&byte, 1};
         iovec theirs{&byte, 1};
         return ::process_vm_writev(neighbour, &mine, 1, &theirs, 1, 0) == 1;
       }},
      {"open a neighbour's memory",
       [] {
         return ::open(("/proc/" + std::to_string(neighbour) + "/mem").c_str(), O_RDONLY) >= 0;
       }},
      {"trace a neighbour",
       [] { return ::ptrace(PTRACE_SEIZE, neighbour, nullptr, nullptr) == 0; }},
      {"signal a neighbour", [] { return ::kill(neighbour, SIGKILL) == 0; }},
      {"open a pidfd", [] { return ::syscall(SYS_pidfd_open, ::getppid(), 0) >= 0; }},
      {"map new code",
       [] {
         return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
       }},
      {"make data code",
       [] {
         void* page =
             ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return ::mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
       }},
      {"open a Unix socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }},
      {"open a UDP socket", [] { return ::socket(AF_INET, SOCK_DGRAM, 0) >= 0; }},
      {"open a netlink socket", [] { return ::socket(AF_NETLINK, SOCK_RAW, 0) >= 0; }},
      {"listen",
       [] {
         const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
         return ::listen(fd, 1) == 0;
       }},
      {"become dumpable", [] { return ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0; }},
      {"change user", [] { return ::setuid(65534) == 0; }},
      {"leave the namespace", [] { return ::unshare(CLONE_NEWUSER) == 0; }},
      {"raise a limit",
       [] {
         rlimit limit{};
         return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
       }},
      {"set up io_uring", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr) >= 0; }},
      {"load a BPF program", [] { return ::syscall(SYS_bpf, 0, nullptr, 0) >= 0; }},
      {"take hold of SIGSYS", [] { return ::signal(SIGSYS, SIG_IGN) != SIG_ERR; }},
      {"block SIGSYS, then open a file",
       [] {
         sigset_t all;
         ::sigfillset(&all);
         ::sigprocmask(SIG_BLOCK, &all, nullptr);
         return ::open("/etc/passwd", O_RDONLY) >= 0;
       }},
      {"watch files", [] { return ::syscall(SYS_inotify_init1, 0) >= 0; }},
      {"make a file in memory", [] { return ::syscall(SYS_memfd_create, "x", 0) >= 0; }},
      {"mount", [] { return ::syscall(SYS_mount, "a", "/b", "tmpfs", 0, nullptr) == 0; }},
      {"change root", [] { return ::syscall(SYS_chroot, "/") == 0; }},
      {"load a module", [] { return ::syscall(SYS_init_module, nullptr, 0, "") == 0; }},
      {"use the kernel's key rings", [] { return ::syscall(SYS_keyctl, 0, 0, 0, 0, 0) >= 0; }},
      {"open a performance counter",
       [] { return ::syscall(SYS_perf_event_open, nullptr, 0, -1, -1, 0) >= 0; }},
      {"handle page faults", [] { return ::syscall(SYS_userfaultfd, 0) >= 0; }},
      {"share memory by key", [] { return ::syscall(SYS_shmget, 1, 4096, 0) >= 0; }},
      {"set the clock", [] { return ::syscall(SYS_clock_settime, 0, nullptr) == 0; }},
      {"loosen its own filter",
       [] { return ::syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 0, nullptr) == 0; }},
      {"use a 32-bit call", [] { return ::syscall(0x40000000 | SYS_getpid) > 0; }},
  };
  return crimes;
}

int sandboxed(const ipc::ForkOrder& order, std::uint16_t port, const std::function<int()>& then) {
  static_cast<void>(order);
  prepare_sandbox();  // the real zygote does this once; here each child for itself
  if (!enter_sandbox("nats://127.0.0.1:" + std::to_string(port))) {
    return 99;
  }
  return then();
}

}  // namespace

TEST_CASE("every class of forbidden call ends the worker that makes it, and no other") {
  // A child's user says what it does: the number of its crime and, after a dash, its neighbour.
  TestSupervisor supervisor([](const ipc::ForkOrder& order, int socket) {
    return sandboxed(order, 4222, [&] {
      if (order.user == "bystander") {
        char byte = 0;
        return ::read(socket, &byte, 1) == 0 ? 0 : 1;  // lives until its socket is closed
      }
      neighbour = std::stoi(order.user.substr(order.user.find('-') + 1));
      return deadly().at(std::stoul(order.user)).commit() ? 1 : 2;
    });
  });
  TestChild bystander = supervisor.fork("bystander");
  for (std::size_t i = 0; i < deadly().size(); ++i) {
    INFO(deadly()[i].name);
    const int status =
        supervisor.fork(std::to_string(i) + "-" + std::to_string(bystander.pid())).reap();
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGSYS);
  }
  bystander.hang_up();
  const int status = bystander.reap();
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("the broker's port can be reached and no other") {
  NatsServer broker;
  NatsServer other;
  TestSupervisor supervisor([&](const ipc::ForkOrder& order, int socket) {
    return sandboxed(order, broker.port(), [&] {
      const std::string report = std::to_string(connect_to(broker.port())) + " " +
                                 std::to_string(connect_to(other.port()));
      static_cast<void>(::write(socket, report.data(), report.size()) > 0);
      return 0;
    });
  });
  TestChild child = supervisor.fork();
  char report[64] = {};
  CHECK(::read(child.socket(), report, sizeof report - 1) > 0);
  const bool ports = ::syscall(444, nullptr, 0, 1) >= 4;  // what this kernel's landlock can do
  CHECK(std::string(report) == "0 " + std::to_string(ports ? EACCES : 0));
  CHECK(child.reap() == 0);
}

TEST_CASE("landlock that somebody refuses is told apart from a kernel without it") {
  TestSupervisor supervisor([](const ipc::ForkOrder& order, int socket) {
    constexpr long kCreateRuleset = 444;
    if (!test::refuse_call(kCreateRuleset, std::stoi(order.user))) {
      return 98;
    }
    prepare_sandbox();
    const auto state = enter_sandbox("nats://127.0.0.1:4222");
    if (!state || state->landlock.version != 0) {
      return 99;
    }
    const std::string report = (state->landlock.refused ? "refused: " : "") + state->text();
    return ::write(socket, report.data(), report.size()) > 0 ? 0 : 97;
  });
  const auto report_of = [&](int error) {
    TestChild child = supervisor.fork(std::to_string(error));
    char report[128] = {};
    CHECK(::read(child.socket(), report, sizeof report - 1) > 0);
    CHECK(child.reap() == 0);
    return std::string(report);
  };
  const std::string without = "sandbox: seccomp, landlock not in this kernel";
  CHECK(report_of(ENOSYS) == without);
  CHECK(report_of(EOPNOTSUPP) == without);
  CHECK(report_of(EPERM) ==
        "refused: sandbox: seccomp, landlock refused by the system-call filter around the node");
}

TEST_CASE("threads, secrets, exceptions and abort work as ever inside the sandbox") {
  TestSupervisor supervisor([](const ipc::ForkOrder& order, int) {
    return sandboxed(order, 4222, [&] {
      if (order.user == "abort") {
        std::abort();
      }
      int sum = 0;
      for (int i = 0; i < 20; ++i) {
        std::thread([&] { ++sum; }).join();
      }
      SystemRandom random;
      const IdentityKey key = IdentityKey::generate(random);  // guarded, locked memory
      sum += ed25519_verify(key.public_key(), as_bytes("x"), key.sign(as_bytes("x"))) ? 1 : 0;
      try {
        throw std::runtime_error("thrown on purpose by a test");
      } catch (const std::exception&) {
        ++sum;
      }
      const std::vector<std::uint8_t> large(64U << 20, 1);
      return sum + large.back() == 23 ? 0 : 1;
    });
  });
  CHECK(supervisor.fork("fine").reap() == 0);
  CHECK(WTERMSIG(supervisor.fork("abort").reap()) == SIGABRT);
}

TEST_CASE("memory beyond the limit is refused to that worker alone") {
  TestSupervisor supervisor([](const ipc::ForkOrder& order, int) {
    return sandboxed(order, 4222, [] {
      const std::vector<std::uint8_t> huge(std::size_t{2} << 30);
      return huge.back() == 0 ? 1 : 2;
    });
  });
  const int status = supervisor.fork().reap();
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == kExitOutOfMemory);
}

#endif
