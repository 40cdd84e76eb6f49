#pragma once
// How much memory the host has left, and how many idle workers should go because of it. Reading is
// one function, the rest is pure.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cosigner::supervisor {

struct HostMemory {
  /// MemAvailable of /proc/meminfo: what can be had without swapping.
  std::optional<std::uint64_t> available_bytes;
  /// "some avg10" of /proc/pressure/memory: the share of the last ten seconds in which something
  /// waited for memory. Nothing where the kernel does not measure it.
  std::optional<double> pressure_percent;
};

/// Nothing if there is no such line or its number cannot be read.
[[nodiscard]] std::optional<std::uint64_t> parse_available(std::string_view meminfo);
[[nodiscard]] std::optional<double> parse_pressure(std::string_view pressure);
/// `proc`: where procfs is mounted.
[[nodiscard]] HostMemory read_host_memory(const std::string& proc = "/proc");

struct MemoryLimits {
  std::uint64_t floor_bytes = 256U << 20;  ///< below it idle workers go; 0: never because of it
  std::uint32_t pressure_percent = 20;     ///< above it idle workers go; 0: never because of it
};

[[nodiscard]] bool short_of_memory(const HostMemory& memory, const MemoryLimits& limits);

/// Which limit is set and cannot be watched since its measure cannot be read; empty: none.
[[nodiscard]] std::string unwatched(const HostMemory& memory, const MemoryLimits& limits);

/// Of `idle` workers, to be asked now: an eighth, at least one. Asked again every second while the
/// shortage lasts, so that 5,000 idle workers are gone within half a minute and a short dip costs
/// few.
[[nodiscard]] std::size_t workers_to_relieve(std::size_t idle);

}  // namespace cosigner::supervisor
