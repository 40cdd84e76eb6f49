#include "worker/sandbox/seccomp_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "ipc/seccomp_rules.h"
#include "ipc/unique_fd.h"

namespace cosigner::worker {
namespace {

// Whatever their arguments. None of them names a file, a process or an address.
constexpr int kHarmless[] = {
    // memory
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mlock),
    SCMP_SYS(mlock2), SCMP_SYS(munlock),
    // threads, signals to oneself, the end
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(sysinfo), SCMP_SYS(gettid), SCMP_SYS(getpid),
    SCMP_SYS(getppid), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),
    SCMP_SYS(restart_syscall), SCMP_SYS(tgkill), SCMP_SYS(exit), SCMP_SYS(exit_group),
    // time and randomness
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrandom),
    // descriptors one has
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(pread64),
    SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select),
    SCMP_SYS(pselect6), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
    // sockets one has; landlock says which port connect() may reach
    SCMP_SYS(connect), SCMP_SYS(sendto), SCMP_SYS(recvfrom), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(shutdown)};

constexpr scmp_datum_t kThreadFlags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD;
constexpr scmp_datum_t kSocketTypeMask = 0xf;

using ipc::SeccompRules;
constexpr auto kAllBits = SeccompRules::kAllBits;
constexpr SeccompRules::Narrow kNarrow[] = {
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},  // no new code
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    {SCMP_SYS(clone), 0, kThreadFlags, kThreadFlags},  // threads, no processes
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFL},
    {SCMP_SYS(fcntl), 1, kAllBits, F_SETFL},
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFD},
    {SCMP_SYS(fcntl), 1, kAllBits, F_SETFD},
    {SCMP_SYS(fcntl), 1, kAllBits, F_DUPFD_CLOEXEC},
    {SCMP_SYS(ioctl), 1, kAllBits, FIONBIO},
    {SCMP_SYS(ioctl), 1, kAllBits, FIONREAD},
    {SCMP_SYS(prctl), 0, kAllBits, PR_SET_NAME},  // threads name themselves
};

std::unexpected<Error> failed(const char* what, int error) {
  return fail(ErrorCode::kInternal, std::string(what) + ": " + std::strerror(error));
}

SeccompRules make_rules() {
  // The call is not made, and SIGSYS ends the process: with the call's number in the crash record.
  SeccompRules rules(SCMP_ACT_TRAP);
  rules.set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  rules.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree, not a list
  rules.add(SCMP_ACT_ALLOW, kHarmless);
  rules.allow(kNarrow);
  // SIGSYS stays what it was when the filter was applied: the crash handler, which names the call
  // that was refused, or the default action. Blocking it does not help either: the kernel then
  // takes the default action.
  rules.add(SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), {{0, SCMP_CMP_NE, SIGSYS, 0}});
  // clone3 keeps its flags in memory, where no filter can look: glibc takes clone instead.
  rules.add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
  for (const int family : {AF_INET, AF_INET6}) {
    rules.add(SCMP_ACT_ALLOW, SCMP_SYS(socket),
              {{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0},
               {1, SCMP_CMP_MASKED_EQ, kSocketTypeMask, SOCK_STREAM}});
  }
  return rules;
}

Expected<void> install(const sock_filter* instructions, std::size_t count) {
  const sock_fprog program{static_cast<unsigned short>(count),
                           const_cast<sock_filter*>(instructions)};
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    return failed("seccomp", errno);
  }
  return {};
}

}  // namespace

Expected<SeccompFilter> SeccompFilter::compile() {
  const ipc::UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) {
    return failed("memfd_create", errno);
  }
  if (auto written = make_rules().write(file.get()); !written) {
    return std::unexpected(written.error());
  }
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  SeccompFilter filter;
  filter.program_.resize(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), filter.program_.data(), static_cast<std::size_t>(size), 0) != size) {
    return failed("reading the seccomp program", EIO);
  }
  return filter;
}

Expected<void> SeccompFilter::apply() const {
  // tgkill (abort() needs it) with another process's id ends this one. Little endian: the low half
  // of an argument comes first.
  const sock_filter own_signals_only[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_tgkill, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(::getpid()), 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  // The large one last: it does not allow seccomp itself.
  if (auto installed = install(own_signals_only, std::size(own_signals_only)); !installed) {
    return installed;
  }
  return install(program_.data(), program_.size());
}

}  // namespace cosigner::worker
