// The exporter's walls from inside: each forbidden call ends the process with SIGSYS, and what it
// lives on still works.

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "supervisor/exporter/filter.h"

#ifndef COSIGNER_SANITIZED  // sanitizer builds have no filter

namespace cosigner::exporter::test {
namespace {

constexpr int kDone = 0;
constexpr int kRefused = 1;
constexpr int kNoFilter = 2;

/// How a child ended that did `deed` behind the filter.
int status_after(const std::function<bool()>& deed) {
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(SIGABRT, SIG_DFL);  // Catch's handler would report
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || !enter_filter()) {
      ::_exit(kNoFilter);
    }
    ::_exit(deed() ? kDone : kRefused);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return status;
}

struct Deed {
  std::string name;
  std::function<bool()> commit;
};

const std::vector<Deed>& deadly() {
  static const std::vector<Deed> all = {
      {"open a file", [] { return ::open("/etc/passwd", O_RDONLY) >= 0; }},
      {"look for a file", [] { return ::access("/etc/passwd", R_OK) == 0; }},
      {"remove a file", [] { return ::unlink("/nonexistent") == 0; }},
      {"run a program",
       [] {
         char* const arguments[] = {nullptr};
         return ::execve("/bin/true", arguments, arguments) == 0;
       }},
      {"fork", [] { return ::syscall(SYS_fork) >= 0; }},
      {"clone", [] { return ::syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) >= 0; }},
      {"make a socket", [] { return ::socket(AF_INET, SOCK_STREAM, 0) >= 0; }},
      {"make a Unix socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0) >= 0; }},
      {"make a pair of sockets",
       [] {
         int pair[2];
         return ::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0;
       }},
      {"connect", [] { return ::connect(0, nullptr, 0) == 0; }},
      {"bind", [] { return ::bind(0, nullptr, 0) == 0; }},
      {"listen", [] { return ::listen(0, 1) == 0; }},
      {"signal the supervisor", [parent = ::getpid()] { return ::kill(parent, 0) == 0; }},
      {"signal the supervisor's thread",
       [parent = ::getpid()] { return ::syscall(SYS_tgkill, parent, parent, 0) == 0; }},
      {"trace", [] { return ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) == 0; }},
      {"open a pidfd", [] { return ::syscall(SYS_pidfd_open, 1, 0) >= 0; }},
      {"become dumpable", [] { return ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0; }},
      {"change user", [] { return ::setuid(65534) == 0; }},
      {"raise a limit",
       [] {
         rlimit limit{};
         return ::setrlimit(RLIMIT_DATA, &limit) == 0;
       }},
      {"copy a descriptor", [] { return ::fcntl(0, F_DUPFD, 0) >= 0; }},
      {"map new code",
       [] {
         return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
                MAP_FAILED;
       }},
      {"make data code",
       [] {
         void* page =
             ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return ::mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0;
       }},
      {"set up io_uring", [] { return ::syscall(SYS_io_uring_setup, 1, nullptr) >= 0; }},
      {"use a 32-bit call", [] { return ::syscall(0x40000000 | SYS_getpid) > 0; }},
  };
  return all;
}

}  // namespace

TEST_CASE("exporter: what it must not do ends it") {
  for (const Deed& deed : deadly()) {
    INFO(deed.name);
    const int status = status_after(deed.commit);
    CHECK(WIFSIGNALED(status));
    CHECK((WIFSIGNALED(status) ? WTERMSIG(status) : 0) == SIGSYS);
  }
}

TEST_CASE("exporter: what it lives on works behind its walls") {
  int pair[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
  const int waiting = ::epoll_create1(0);
  REQUIRE(waiting >= 0);
  const int status = status_after([&] {
    char byte = 'x';
    pollfd ready{.fd = pair[1], .events = POLLIN, .revents = 0};
    epoll_event event{.events = EPOLLIN, .data = {.fd = pair[1]}};
    timespec now{};
    const auto memory = std::make_unique<std::vector<char>>(8U << 20, 'a');  // mmap, munmap
    return ::epoll_ctl(waiting, EPOLL_CTL_ADD, pair[1], &event) == 0 &&
           ::send(pair[0], &byte, 1, MSG_NOSIGNAL) == 1 && ::poll(&ready, 1, 1000) == 1 &&
           ::epoll_wait(waiting, &event, 1, 1000) == 1 && ::recv(pair[1], &byte, 1, 0) == 1 &&
           ::clock_gettime(CLOCK_REALTIME, &now) == 0 && memory->back() == 'a';
  });
  CHECK(WIFEXITED(status));
  CHECK((WIFEXITED(status) ? WEXITSTATUS(status) : -1) == kDone);
  for (const int descriptor : {pair[0], pair[1], waiting}) {
    ::close(descriptor);
  }
}

TEST_CASE("exporter: abort() ends it as itself") {
  const int status = status_after([]() -> bool { std::abort(); });
  CHECK(WIFSIGNALED(status));
  CHECK((WIFSIGNALED(status) ? WTERMSIG(status) : 0) == SIGABRT);
}

}  // namespace cosigner::exporter::test

#endif
