#include "supervisor/process/spawn.h"

#include <fcntl.h>
#include <spawn.h>

#include <csignal>
#include <cstdlib>
#include <cstring>

#include "ipc/unique_fd.h"

namespace cosigner::supervisor {
namespace {

constexpr int kFirstDescriptor = 3;

/// Nothing of the operator's shell reaches a process that holds shares. SSL_CERT_*: nats.c adds the
/// system's authorities to whatever it is given (850 KB a worker); there are none here. glibc keeps
/// up to 236 KiB of freed blocks for each thread, where no trim finds them: 15 KiB of small ones
/// are enough. Sanitizer builds need their options.
std::vector<std::string> environment() {
  std::vector<std::string> out = {"LC_ALL=C.UTF-8", "SSL_CERT_FILE=/nonexistent",
                                  "SSL_CERT_DIR=/nonexistent",
                                  "GLIBC_TUNABLES=glibc.malloc.tcache_max=256"};
  for (const char* name : {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name); value != nullptr) {
      out.push_back(std::string(name) + "=" + value);
    }
  }
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) {
    out.push_back(text.data());
  }
  out.push_back(nullptr);
  return out;
}

}  // namespace

Expected<pid_t> spawn(const std::string& program, std::vector<std::string> arguments,
                      std::span<const int> descriptors) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  // Out of the way of their places first, so that none overwrites another.
  std::vector<ipc::UniqueFd> moved;
  for (const int descriptor : descriptors) {
    const int place = kFirstDescriptor + static_cast<int>(moved.size());
    moved.emplace_back(fcntl(descriptor, F_DUPFD_CLOEXEC,
                             kFirstDescriptor + static_cast<int>(descriptors.size())));
    posix_spawn_file_actions_adddup2(&actions, moved.back().get(), place);
  }
  // libuv blocks and handles signals here; the child starts with none of that.
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

  std::vector<std::string> variables = environment();
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes,
                                pointers(arguments).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(ErrorCode::kInternal, "cannot start " + program + ": " + std::strerror(error));
  }
  return pid;
}

}  // namespace cosigner::supervisor
