#pragma once
// Between the supervisor and its zygote.

#include <cstdint>
#include <string>

#include "ipc/message_parts.h"

namespace cosigner::ipc {

struct ZygoteReady {
  std::int32_t pid = 0;
  COSIGNER_MESSAGE(kZygoteReady, pid)
};
/// Carries the child's end of its socket, and the writing end of its crash pipe, as SCM_RIGHTS.
struct ForkOrder {
  std::uint64_t order = 0;
  Role role = Role::kWorker;
  std::string user;  ///< empty for the gateway
  std::uint64_t generation = 0;
  COSIGNER_MESSAGE(kForkOrder, order, role, user, generation)
};
struct ForkResult {
  std::uint64_t order = 0;
  std::int32_t pid = 0;  ///< 0: the fork failed
  std::string error;
  COSIGNER_MESSAGE(kForkResult, order, pid, error)
};

}  // namespace cosigner::ipc
