#include "worker/zygote/child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "ipc/worker_exit.h"
#include "worker/crash/crash_handler.h"
#include "worker/zygote/warm_up.h"

namespace cosigner::worker {
namespace {

std::span<char> title_area;
int kept_lock = -1;
/// Above whatever descriptors come with an order.
constexpr int kFirstKept = 10;

// The intermediate process exits right after its fork, so this takes some ten microseconds; two
// seconds without means that the supervisor is gone and someone else has adopted us.
void await_parent(pid_t supervisor) {
  for (int i = 0; i < 4000; ++i) {
    if (::getppid() == supervisor) {
      return;
    }
    if (i < 50) {
      ::sched_yield();
    } else {
      const timespec half_millisecond{0, 500'000};
      ::nanosleep(&half_millisecond, nullptr);
    }
  }
  ::_exit(ipc::kExitOrphan);
}

void reset_signals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    ::signal(signal, SIG_DFL);  // fails for SIGKILL and SIGSTOP, and for glibc's own
  }
  // Terminals signal the whole group, but the supervisor decides when we end; a broken pipe is an
  // error code.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

void give_up_rights() {
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  rlimit locked{};
  if (::getrlimit(RLIMIT_MEMLOCK, &locked) == 0) {
    locked.rlim_cur = locked.rlim_max;  // for secrets in guarded memory, as far as the host allows
    ::setrlimit(RLIMIT_MEMLOCK, &locked);
  }
  ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

}  // namespace

void keep_lock(int file) {
  kept_lock = ::fcntl(file, F_DUPFD_CLOEXEC, kFirstKept);
  ::close(file);
}

void remember_title_area(int argc, char** argv) {
  if (argc < 1) {
    return;
  }
  // The kernel lays the strings of argv and the environment out without gaps.
  char* end = argv[argc - 1] + std::strlen(argv[argc - 1]) + 1;
  for (char** variable = environ; *variable != nullptr && *variable == end; ++variable) {
    end += std::strlen(*variable) + 1;
  }
  title_area = {argv[0], end};
}

void set_process_title(const std::string& title) {
  ::prctl(PR_SET_NAME, title.substr(0, 15).c_str(), 0, 0, 0);
  if (title_area.size() < 2) {
    return;
  }
  static char* no_environment[] = {nullptr};
  environ = no_environment;
  std::ranges::fill(title_area, '\0');
  const std::size_t size = std::min(title.size(), title_area.size() - 1);
  std::memcpy(title_area.data(), title.data(), size);
}

void enter_child(const ipc::ForkOrder& order, int socket, int crash_pipe, pid_t supervisor) {
  reset_signals();
  if (socket != kSocketFd) {
    ::dup2(socket, kSocketFd);
  }
  if (crash_pipe >= 0) {  // never kSocketFd, which the zygote's own socket has
    ::dup2(crash_pipe, kCrashPipeFd);
  } else {
    ::close(kCrashPipeFd);
  }
  if (kept_lock >= 0) {
    ::dup2(kept_lock, kLockFd);
  } else {
    ::close(kLockFd);
  }
  ::close_range(kLockFd + 1, ~0U, 0);
  install_crash_handler(crash_pipe >= 0 ? kCrashPipeFd : -1, order.generation);
  await_parent(supervisor);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != supervisor) {  // it died between the two: no signal would come any more
    ::_exit(ipc::kExitOrphan);
  }
  give_up_rights();
  set_process_title(order.role == ipc::Role::kGateway
                        ? "cosigner: gateway"
                        : "cosigner: " + order.user + " " + std::to_string(order.generation));
  reseed();
}

}  // namespace cosigner::worker
