#include "worker/sandbox/seccomp_filter.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
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
#include <initializer_list>
#include <memory>

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

// One rule: the call, and what its argument `argument` must be under `mask`.
struct Narrow {
  int call;
  unsigned argument;
  scmp_datum_t mask;
  scmp_datum_t value;
};
constexpr scmp_datum_t kAllBits = ~scmp_datum_t{0};
constexpr Narrow kNarrow[] = {
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},  // no new code
    {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    {SCMP_SYS(clone), 0, kThreadFlags, kThreadFlags},  // threads (nats.c's), no processes
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFL},
    {SCMP_SYS(fcntl), 1, kAllBits, F_SETFL},
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFD},
    {SCMP_SYS(fcntl), 1, kAllBits, F_SETFD},
    {SCMP_SYS(ioctl), 1, kAllBits, FIONBIO},
    {SCMP_SYS(ioctl), 1, kAllBits, FIONREAD},
    {SCMP_SYS(prctl), 0, kAllBits, PR_SET_NAME},  // threads name themselves
};

std::unexpected<Error> failed(const char* what, int error) {
  return fail(ErrorCode::kInternal, std::string(what) + ": " + std::strerror(error));
}

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};

int add_rules(scmp_filter_ctx context) {
  int status = 0;
  const auto keep = [&status](int next) { status = status != 0 ? status : next; };
  for (const int call : kHarmless) {
    keep(seccomp_rule_add(context, SCMP_ACT_ALLOW, call, 0));
  }
  for (const Narrow& rule : kNarrow) {
    const scmp_arg_cmp condition{rule.argument, SCMP_CMP_MASKED_EQ, rule.mask, rule.value};
    keep(seccomp_rule_add_array(context, SCMP_ACT_ALLOW, rule.call, 1, &condition));
  }
  // SIGSYS stays what it was when the filter was applied: the crash handler, which names the call
  // that was refused, or the default action. Blocking it does not help either: the kernel then
  // takes the default action.
  const scmp_arg_cmp other_signals{0, SCMP_CMP_NE, SIGSYS, 0};
  keep(seccomp_rule_add_array(context, SCMP_ACT_ALLOW, SCMP_SYS(rt_sigaction), 1, &other_signals));
  // clone3 keeps its flags in memory, where no filter can look: glibc takes clone instead.
  keep(seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0));
  for (const int family : {AF_INET, AF_INET6}) {
    const scmp_arg_cmp conditions[] = {
        {0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(family), 0},
        {1, SCMP_CMP_MASKED_EQ, kSocketTypeMask, SOCK_STREAM},
    };
    keep(seccomp_rule_add_array(context, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, conditions));
  }
  return status;
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
  // The call is not made, and SIGSYS ends the process: with the call's number in the crash record.
  const std::unique_ptr<void, Release> context(seccomp_init(SCMP_ACT_TRAP));
  if (context == nullptr) {
    return failed("seccomp_init", ENOMEM);
  }
  seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree, not a list
  if (const int status = add_rules(context.get()); status != 0) {
    return failed("seccomp_rule_add", -status);
  }
  const ipc::UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) {
    return failed("memfd_create", errno);
  }
  if (const int status = seccomp_export_bpf(context.get(), file.get()); status != 0) {
    return failed("seccomp_export_bpf", -status);
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
