#pragma once
// Starting a program of ours: its environment is made, not inherited, and it gets the descriptors
// it is given and the standard three, no other.

#include <sys/types.h>

#include <span>
#include <string>
#include <vector>

#include "ipc/error.h"

namespace cosigner::supervisor {

/// The first of `descriptors` is descriptor 3 in the child, the next 4, and so on. Signals are
/// unblocked and at their defaults. Errors: internal, with the program's path.
[[nodiscard]] Expected<pid_t> spawn(const std::string& program, std::vector<std::string> arguments,
                                    std::span<const int> descriptors);

}  // namespace cosigner::supervisor
