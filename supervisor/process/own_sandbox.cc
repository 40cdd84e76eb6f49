#include "supervisor/process/own_sandbox.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "ipc/seccomp_rules.h"

namespace cosigner::supervisor {
namespace {

#ifndef COSIGNER_SANITIZED

/// A node that runs as root (development) keeps this one: without it the memory of processes that
/// are not dumpable, its workers, cannot be measured, nor stragglers of the last run be recognised.
/// Under a user of its own there is none to keep.
constexpr unsigned kKept = CAP_SYS_PTRACE;
/// Of memory that a worker may lock (its secrets). Only root may raise the limit; under systemd the
/// unit says LimitMEMLOCK=.
constexpr rlim_t kLockedBytes = rlim_t{64} << 20;

/// Refused with EPERM: none of them is called by cosignerd, the worker program or their libraries.
constexpr int kRefused[] = {
    // other processes' memory and descriptors
    SCMP_SYS(ptrace), SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(kcmp),
    SCMP_SYS(process_madvise), SCMP_SYS(pidfd_getfd),
    // the kernel's own code, and programs run in it
    SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module), SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load), SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
    // file systems and namespaces
    SCMP_SYS(mount), SCMP_SYS(umount2), SCMP_SYS(pivot_root), SCMP_SYS(chroot),
    SCMP_SYS(move_mount), SCMP_SYS(open_tree), SCMP_SYS(fsopen), SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount), SCMP_SYS(fspick), SCMP_SYS(mount_setattr), SCMP_SYS(unshare),
    SCMP_SYS(setns), SCMP_SYS(open_by_handle_at), SCMP_SYS(swapon), SCMP_SYS(swapoff),
    SCMP_SYS(quotactl), SCMP_SYS(acct),
    // the machine
    SCMP_SYS(reboot), SCMP_SYS(sethostname), SCMP_SYS(setdomainname), SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime), SCMP_SYS(clock_adjtime), SCMP_SYS(adjtimex), SCMP_SYS(syslog),
    SCMP_SYS(vhangup), SCMP_SYS(personality),
#if defined(__x86_64__)
    SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(modify_ldt),
#endif
    // the kernel's key rings
    SCMP_SYS(keyctl), SCMP_SYS(add_key), SCMP_SYS(request_key)};

std::unexpected<Error> failed(const char* what, int error) {
  return fail(ErrorCode::kInternal,
              std::string("the supervisor's own sandbox: ") + what + ": " + std::strerror(error));
}

Expected<void> drop_capabilities() {
  // The bounds first: that takes a capability itself. A program that root starts gets what they
  // hold.
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    if (capability != kKept && ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 &&
        errno != EPERM) {  // EPERM: not root, so there is nothing that bounds could bound
      return failed("capability bounds", errno);
    }
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) {
    return failed("capget", errno);
  }
  std::uint32_t excess = 0;
  for (unsigned word = 0; word < _LINUX_CAPABILITY_U32S_3; ++word) {
    const std::uint32_t kept = CAP_TO_INDEX(kKept) == word ? CAP_TO_MASK(kKept) : 0U;
    excess |= ((data[word].permitted | data[word].effective) & ~kept) | data[word].inheritable;
    data[word].permitted &= kept;
    data[word].effective &= kept;
    data[word].inheritable = 0;
  }
  // Who has none to give up may be forbidden the call itself, as under the package's unit.
  if (excess != 0 && ::syscall(SYS_capset, &header, data) != 0) {
    return failed("capset", errno);
  }
  return {};
}

Expected<void> refuse_system_calls() {
  ipc::SeccompRules rules(SCMP_ACT_ALLOW);
  rules.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a binary tree, not a list
  rules.add(SCMP_ACT_ERRNO(EPERM), kRefused);
  return rules.load();
}

#endif

}  // namespace

Expected<void> enter_own_sandbox() {
#ifdef COSIGNER_SANITIZED
  return {};
#else
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  rlimit locked{};
  if (::getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_max < kLockedBytes) {
    const rlimit more{kLockedBytes, kLockedBytes};
    ::setrlimit(RLIMIT_MEMLOCK, &more);  // refused to all but root
  }
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return failed("prctl", errno);
  }
  if (auto dropped = drop_capabilities(); !dropped) {
    return dropped;
  }
  return refuse_system_calls();
#endif
}

}  // namespace cosigner::supervisor
