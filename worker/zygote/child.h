#pragma once
// What a forked child does before it is a worker or a gateway: it makes sure whose child it is,
// and lets go of everything it inherited.

#include <sys/types.h>

#include <string>

#include "ipc/zygote_messages.h"

namespace cosigner::worker {

/// Where the child's socket is after enter_child(), and the zygote's own before. Its crash pipe is
/// then at kCrashPipeFd (worker/crash/crash_handler.h).
inline constexpr int kSocketFd = 3;
/// A file that tells by its lock whether a process of this supervisor lives: the supervisor gives
/// it to the zygote as kGivenLockFd, and each child has it at kLockFd, for nothing but to hold it.
inline constexpr int kGivenLockFd = 4;
inline constexpr int kLockFd = 5;

/// In the zygote: moves `file` away, for this process and its children to keep until they end.
void keep_lock(int file);

/// The area of argv and environment, which becomes the title that `ps` shows. Call first thing in
/// main(); the environment is empty in children (nats.c and OpenSSL would listen to it).
void remember_title_area(int argc, char** argv);
void set_process_title(const std::string& title);

/// Moves `socket` to kSocketFd, `crash_pipe` (-1: none) to kCrashPipeFd and what keep_lock() was
/// given to kLockFd, closes every other descriptor but the standard three, installs the crash
/// handler, waits until the supervisor is the parent and asks the kernel to die with it, resets
/// signals, allows neither cores nor ptrace nor new privileges, reseeds every generator, takes its
/// name. Ends the process if the supervisor is gone.
void enter_child(const ipc::ForkOrder& order, int socket, int crash_pipe, pid_t supervisor);

}  // namespace cosigner::worker
