#pragma once
// Two configurations compared, key by key: what a running node can take over at once and what needs
// a restart. Pure: reload reads the file, asks this, and applies.

#include <string>
#include <string_view>
#include <vector>

#include "supervisor/config/config.h"

namespace cosigner::supervisor {

struct ConfigDifference {
  /// Keys as they are written ("log.level"), and "peers" or "initiators" with what changed
  /// ("peers: node4 added"). In the order of the file.
  std::vector<std::string> live;
  std::vector<std::string> restart;
  friend bool operator==(const ConfigDifference&, const ConfigDifference&) = default;
};

[[nodiscard]] ConfigDifference compare_configs(const Config& running, const Config& wanted);

/// `running` with everything of `wanted` that can change while the node runs.
[[nodiscard]] Config with_live_changes(const Config& running, const Config& wanted);

/// Every key that compare_configs() looks at, "table.key" (a test holds it against what
/// load_config() reads).
[[nodiscard]] std::vector<std::string_view> compared_keys();

}  // namespace cosigner::supervisor
