#pragma once
// The crash handler of workers and gateways: on SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT
// and SIGSYS it writes a crash record (ipc/crash_record.h) into the crash pipe and lets the process
// die of the same signal. A refused allocation leaves a record too and ends the process with
// ipc::kExitOutOfMemory, wherever it happens: nothing of ours can go on without memory.
//
// Async-signal-safe: memory that is there already, write(2), and libgcc's unwinder, which takes no
// lock with glibc 2.35 and later (_dl_find_object) and is loaded beforehand. It runs on a stack of
// its own, so a used-up stack is reported as well (on the main thread; other threads have no
// second stack). All its system calls are on the sandbox's allow-list.
//
// Sanitizer builds keep their own handlers, which say more.

#include <cstdint>

namespace cosigner::worker {

/// Where the crash pipe is in a child.
inline constexpr int kCrashPipeFd = 4;

/// In the zygote: notes which module lies where, and loads the unwinder. Children load nothing
/// more, so the table stays true.
void prepare_crash_handler();

/// In a child, before it does anything else; `pipe` -1: no record is written.
void install_crash_handler(int pipe, std::uint64_t generation);

}  // namespace cosigner::worker
