#pragma once
// Points in time for people, always in UTC.

#include <array>
#include <cstdint>
#include <ctime>
#include <string>

namespace cosigner::ctl {

/// Seconds since 1970 in a form of strftime(3), of at most 31 characters.
inline std::string utc_text(std::int64_t seconds, const char* form) {
  const std::time_t time = seconds;
  std::tm parts{};
  std::array<char, 32> text{};
  ::gmtime_r(&time, &parts);
  return {text.data(), std::strftime(text.data(), text.size(), form, &parts)};
}

}  // namespace cosigner::ctl
