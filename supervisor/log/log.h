#pragma once
// A log line and whom it is about. spdlog carries text only: the fields travel beside the line to
// the formatter or the journal's sink (both run in the caller's thread, within the call), which
// show them as what they are and not as prose, so that `journalctl USER_ID=…` finds them.
//
//   log_about(about(user, generation), spdlog::level::warn, "killed: {}", why);

#include <spdlog/spdlog.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/message_parts.h"

namespace cosigner::supervisor {

/// `name` in lower case, as JSON shows it; the journal has it in upper case.
struct LogField {
  std::string_view name;
  std::string value;
  friend bool operator==(const LogField&, const LogField&) = default;
};
using LogFields = std::vector<LogField>;

/// Of the line that this thread logs now.
[[nodiscard]] const LogFields& current_log_fields();

/// How users appear in logs: as they are, or hashed, as the token that names the user in broker
/// subjects (user_subject_token), the same on all nodes, so that an operator who knows a user's
/// name finds the lines and the log alone does not tell the name. It is no secrecy against
/// guessing.
void set_log_users(bool hashed, std::string cluster);
[[nodiscard]] std::string log_user(std::string_view user);

/// user_id, generation (0: unknown) and session_id (hex or empty), as far as they are known.
[[nodiscard]] LogFields about(std::string_view user, std::uint64_t generation = 0,
                              std::string_view session = {});

/// Sets the fields of what is logged while it lives.
class LogScope {
 public:
  explicit LogScope(const LogFields& fields);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

 private:
  const LogFields* before_;
};

/// The only place that knows both names of a level: the processes' and the logger's.
[[nodiscard]] spdlog::level::level_enum spdlog_level(ipc::LogLevel level);

template <class... Arguments>
void log_about(const LogFields& fields, spdlog::level::level_enum level,
               spdlog::format_string_t<Arguments...> format, Arguments&&... arguments) {
  const LogScope scope(fields);
  spdlog::log(level, format, std::forward<Arguments>(arguments)...);
}

}  // namespace cosigner::supervisor
