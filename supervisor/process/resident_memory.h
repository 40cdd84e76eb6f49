#pragma once
// What a process has in memory that no file backs, as /proc tells everybody: it counts pages that a
// worker still shares with the zygote, which only root may tell apart.

#include <sys/types.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <optional>
#include <string>

namespace cosigner::supervisor {

/// Nothing if it is gone.
[[nodiscard]] inline std::optional<std::uint64_t> resident_memory(
    pid_t pid, const std::string& proc = "/proc") {
  std::ifstream file(proc + "/" + std::to_string(pid) + "/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  std::uint64_t shared = 0;
  if (!(file >> size >> resident >> shared) || resident < shared) {
    return std::nullopt;
  }
  return (resident - shared) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace cosigner::supervisor
