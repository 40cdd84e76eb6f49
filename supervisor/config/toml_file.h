#pragma once
// A file of the configuration: read as TOML, its mistakes gathered in the order of its lines.

#include <optional>
#include <string>
#include <vector>

#include "supervisor/config/toml_fields.h"

namespace cosigner::supervisor {

/// Parses one file; notes syntax errors and files that cannot be read.
[[nodiscard]] std::optional<toml::table> parse_file(const std::string& path, Problems& problems);

/// In the order of the lines.
void append(std::vector<ConfigProblem>& all, Problems& problems);

/// Others who may write to a file decide what is in it.
void check_shared(const std::string& path, Problems& problems);

}  // namespace cosigner::supervisor
