#pragma once
// One JSON object a line, for the journal and whatever collects it.

#include <spdlog/formatter.h>

#include <memory>
#include <string>

namespace cosigner::supervisor {

/// {"time": ms since 1970, "level": …, "node": …, "message": …}
[[nodiscard]] std::unique_ptr<spdlog::formatter> make_json_formatter(std::string node);

}  // namespace cosigner::supervisor
