#include "supervisor/process/host_memory.h"

#include <charconv>

#include "supervisor/process/file_contents.h"

namespace cosigner::supervisor {
namespace {

/// What follows `name` in `text`, after blanks.
std::optional<std::string_view> after(std::string_view text, std::string_view name) {
  const std::size_t at = text.find(name);
  if (at == std::string_view::npos) {
    return std::nullopt;
  }
  text.remove_prefix(at + name.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  return text;
}

template <class Number>
std::optional<Number> number_at(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() ? std::optional(value) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_available(std::string_view meminfo) {
  const auto found = after(meminfo, "MemAvailable:");
  const auto kibibytes = found ? number_at<std::uint64_t>(*found) : std::nullopt;
  if (!kibibytes || *kibibytes > UINT64_MAX / 1024) {
    return std::nullopt;
  }
  return *kibibytes * 1024;
}

std::optional<double> parse_pressure(std::string_view pressure) {
  const auto some = after(pressure, "some ");
  const auto average = some ? after(*some, "avg10=") : std::nullopt;
  return average ? number_at<double>(*average) : std::nullopt;
}

HostMemory read_host_memory(const std::string& proc) {
  return {.available_bytes = parse_available(file_contents(proc + "/meminfo")),
          .pressure_percent = parse_pressure(file_contents(proc + "/pressure/memory"))};
}

bool short_of_memory(const HostMemory& memory, const MemoryLimits& limits) {
  const bool little = limits.floor_bytes > 0 && memory.available_bytes &&
                      *memory.available_bytes < limits.floor_bytes;
  const bool stalls = limits.pressure_percent > 0 && memory.pressure_percent &&
                      *memory.pressure_percent > static_cast<double>(limits.pressure_percent);
  return little || stalls;
}

std::string unwatched(const HostMemory& memory, const MemoryLimits& limits) {
  std::string out;
  if (limits.floor_bytes > 0 && !memory.available_bytes) {
    out = "memory_floor_bytes (/proc/meminfo cannot be read)";
  }
  if (limits.pressure_percent > 0 && !memory.pressure_percent) {
    out += out.empty() ? "" : ", ";
    out += "memory_pressure_percent (/proc/pressure/memory cannot be read)";
  }
  return out;
}

std::size_t workers_to_relieve(std::size_t idle) {
  return idle == 0 ? 0 : (idle + 7) / 8;
}

}  // namespace cosigner::supervisor
