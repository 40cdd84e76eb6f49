#pragma once
// The exporter's walls: seccomp, an allow-list. It may use the descriptors it has, accept
// connections, use memory and look at the clock. It can open no file, make no socket, start no
// process or thread; any such call ends it with SIGSYS.

#include "ipc/error.h"

namespace cosigner::exporter {

/// For this process, for good; needs no_new_privs. Call it after everything is set up.
[[nodiscard]] Expected<void> enter_filter();

}  // namespace cosigner::exporter
