#pragma once
// Where the node's lines go and what they look like: the journal with its own fields when systemd
// started the node, else stderr as text or JSON, one line each.

#include <spdlog/formatter.h>

#include <memory>
#include <string>

#include "supervisor/log/log.h"

namespace cosigner::supervisor {

struct Config;

/// Of the default logger and of the audit log; again after a reload.
void set_up_logging(const Config& config);

/// 2026-11-21T08:00:00.000 info [node1] user_id=alice generation=7: text
[[nodiscard]] std::unique_ptr<spdlog::formatter> make_text_formatter(std::string node);
/// {"time": ms since 1970, "level": …, "node": …, "message": …, and the fields}
[[nodiscard]] std::unique_ptr<spdlog::formatter> make_json_formatter(std::string node);

/// Is stderr connected to the journal ($JOURNAL_STREAM names the device and inode of file
/// descriptor 2)? systemd sets the variable for what it starts; what a shell runs inside a service
/// and redirects elsewhere must not follow it.
[[nodiscard]] bool stderr_is_the_journal();
/// The fields of one journal entry, NAME=value, in the journal's form.
[[nodiscard]] std::vector<std::string> journal_entry(spdlog::level::level_enum level,
                                                     std::string_view node, std::string_view text,
                                                     const LogFields& fields);

}  // namespace cosigner::supervisor
