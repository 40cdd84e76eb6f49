#include "supervisor/exporter/filter.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>

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

struct Narrow {
  int call;
  unsigned argument;
  scmp_datum_t mask;
  scmp_datum_t value;
};
constexpr scmp_datum_t kAllBits = ~scmp_datum_t{0};
constexpr Narrow kNarrow[] = {
    {SCMP_SYS(mmap), 2, PROT_EXEC, 0},       {SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFL}, {SCMP_SYS(fcntl), 1, kAllBits, F_SETFL},
    {SCMP_SYS(fcntl), 1, kAllBits, F_GETFD}, {SCMP_SYS(fcntl), 1, kAllBits, F_SETFD}};

struct Release {
  void operator()(void* context) const { seccomp_release(context); }
};

}  // namespace

Expected<void> enter_filter() {
#ifndef COSIGNER_SANITIZED  // their run times open files
  const std::unique_ptr<void, Release> context(seccomp_init(SCMP_ACT_KILL_PROCESS));
  if (context == nullptr) {
    return fail(ErrorCode::kInternal, "seccomp_init failed");
  }
  int status = 0;
  const auto keep = [&status](int next) { status = status != 0 ? status : next; };
  for (const int call : kAllowed) {
    keep(seccomp_rule_add(context.get(), SCMP_ACT_ALLOW, call, 0));
  }
  for (const Narrow& rule : kNarrow) {
    const scmp_arg_cmp condition{rule.argument, SCMP_CMP_MASKED_EQ, rule.mask, rule.value};
    keep(seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, rule.call, 1, &condition));
  }
  // abort() raises a signal, in this process; the supervisor has the same user.
  const scmp_arg_cmp itself{0, SCMP_CMP_EQ, static_cast<scmp_datum_t>(::getpid()), 0};
  keep(seccomp_rule_add_array(context.get(), SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, &itself));
  keep(seccomp_load(context.get()));
  if (status != 0) {
    return fail(ErrorCode::kInternal, std::string("seccomp: ") + std::strerror(-status));
  }
#endif
  return {};
}

}  // namespace cosigner::exporter
