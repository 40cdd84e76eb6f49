#pragma once
// The walls around a worker or gateway, raised after WorkerStart and before the first byte from the
// network, while the process has one thread: later threads inherit them.
//
// Limits (descriptors, data), no capabilities, landlock (files, ports, signals), seccomp (an
// allow-list). That no_new_privs is set, cores and ptrace are off, and foreign descriptors are
// closed is enter_child()'s work. Sanitizer builds keep the limits of enter_child() only: their run
// times open files and map terabytes.

#include <string>

#include "ipc/error.h"
#include "worker/sandbox/landlock.h"

namespace cosigner::worker {

/// In the zygote: compiles the filter that its children apply. Ends the process if that fails.
void prepare_sandbox();

struct SandboxState {
  Landlock landlock;
  bool relaxed = false;  ///< sanitizer build

  /// One line for the log.
  [[nodiscard]] std::string text() const;
};

/// `broker_url`: nats://host:port, the only place this process may connect to. An error means that
/// a wall the kernel knows could not be raised: do not go on.
[[nodiscard]] Expected<SandboxState> enter_sandbox(const std::string& broker_url);

/// The port of nats://host[:port]; 4222 if there is none, 0 if it cannot be read.
[[nodiscard]] std::uint16_t broker_port(const std::string& url);

}  // namespace cosigner::worker
