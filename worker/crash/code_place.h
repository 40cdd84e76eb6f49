#pragma once
// Where an address is, as an offset into a module: good for addr2line, of no use to whoever wants
// to know where this process's memory lies.

#include <cstdint>

#include "ipc/crash_record.h"

namespace cosigner::worker {

/// By the table that prepare_crash_handler() made. Allocates, unlike what the handler uses itself.
[[nodiscard]] ipc::CodePlace code_place(const void* address);

}  // namespace cosigner::worker
