#pragma once
// What a system-call filter around the node does to it: one call fails with a chosen error, as
// SystemCallFilter= and RestrictNamespaces= of a systemd unit, or a container, make it fail.

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>

namespace cosigner::test {

/// For this process and all that it starts, for good: call it in a child.
[[nodiscard]] inline bool refuse_call(long number, int error) {
  const auto answer = static_cast<unsigned>(error) & SECCOMP_RET_DATA;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{.len = 4, .filter = program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

}  // namespace cosigner::test
