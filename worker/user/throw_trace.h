#pragma once
// Where the last exception of this thread was thrown: the handler that catches it is far up the
// stack, which is unwound by then. Return addresses are noted in __cxa_throw, about 2 µs each time.

#include <string>

namespace cosigner::worker {

/// Loads what unwinding needs (a file), once, before the sandbox forbids it.
void prepare_throw_trace();

/// The stack of this thread's last throw, one frame a line as "module(+offset)", for addr2line -e.
/// Empty if nothing was thrown.
[[nodiscard]] std::string last_throw_trace();

}  // namespace cosigner::worker
