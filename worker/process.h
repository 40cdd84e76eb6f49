#pragma once
// What a worker or gateway knows of its own process.

#include <cstdint>
#include <cstdio>
#include <memory>

namespace cosigner::worker {

/// Threads of this process (from /proc: call before the sandbox forbids files); 0 if unknown.
inline std::uint32_t thread_count() {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> status(std::fopen("/proc/self/status", "re"));
  if (status == nullptr) {
    return 0;
  }
  char line[256];
  unsigned threads = 0;
  while (std::fgets(line, sizeof line, status.get()) != nullptr) {
    if (std::sscanf(line, "Threads: %u", &threads) == 1) {
      break;
    }
  }
  return threads;
}

}  // namespace cosigner::worker
