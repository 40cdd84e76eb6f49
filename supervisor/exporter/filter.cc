#include "supervisor/exporter/filter.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ipc/seccomp_rules.h"

namespace cosigner::exporter {
namespace {

constexpr int kAllowed[] = {
    // memory
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    // time, randomness, signals to oneself, the end
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(getrandom),
    SCMP_SYS(futex), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(restart_syscall), SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    // descriptors one has
    SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev), SCMP_SYS(close),
    SCMP_SYS(fstat), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    // connections that come
    SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg), SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(getsockname),
    SCMP_SYS(getpeername), SCMP_SYS(shutdown)};

using ipc::SeccompRules;
constexpr auto kAllBits = SeccompRules::kAllBits;
constexpr SeccompRules::Narrow kNarrow[] = {
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},       {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFL}, {SCMP_SYS(fcntl), 1, kAllBits, F_SETFL},
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFD}, {SCMP_SYS(fcntl), 1, kAllBits, F_SETFD}};

}  // namespace

Expected<void> enter_filter() {
#ifndef COSIGNER_SANITIZED  // their run times open files
  SeccompRules rules(SCMP_ACT_KILL_PROCESS);
  rules.add(SCMP_ACT_ALLOW, kAllowed);
  rules.allow(kNarrow);
  // abort() raises a signal, in this process; the supervisor has the same user.
  rules.add(SCMP_ACT_ALLOW, SCMP_SYS(tgkill),
            {{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()), 0}});
  return rules.load();
#else
  return {};
#endif
}

}  // namespace cosigner::exporter
