#pragma once
// What a worker or gateway knows of its own process.

#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ipc/unique_fd.h"

namespace cosigner::worker {

/// Counts this process's threads. Opens its file at once, so that count() works where the sandbox
/// forbids files.
class ThreadCounter {
 public:
  ThreadCounter() : status_(::open("/proc/self/status", O_RDONLY | O_CLOEXEC)) {}

  /// 0 if unknown.
  [[nodiscard]] std::uint32_t count() const {
    char text[2048];
    const ssize_t size = ::pread(status_.get(), text, sizeof text - 1, 0);
    if (size <= 0) {
      return 0;
    }
    text[size] = '\0';
    constexpr std::string_view kLabel = "\nThreads:";
    const std::size_t found = std::string_view(text).find(kLabel);
    return found == std::string_view::npos ? 0
                                           : static_cast<std::uint32_t>(std::strtoul(
                                                 text + found + kLabel.size(), nullptr, 10));
  }

 private:
  ipc::UniqueFd status_;
};

}  // namespace cosigner::worker
