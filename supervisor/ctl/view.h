#pragma once
// A node's replies as readable text. Unknown or missing fields never fail: the node may be of
// another release.

#include "supervisor/ctl/json.h"

namespace cosigner::ctl {

[[nodiscard]] std::string view_status(const Json& status);
[[nodiscard]] std::string view_users(const Json& users);
[[nodiscard]] std::string view_keys(const Json& keys);
[[nodiscard]] std::string view_bans(const Json& listing);
/// One key's line of `verify`.
[[nodiscard]] std::string view_verdict(const Json& verdict);
[[nodiscard]] std::string view_peers(const Json& peers);
[[nodiscard]] std::string view_reload(const Json& changes);
/// Any object: one line for each field.
[[nodiscard]] std::string view_object(const Json& object);

}  // namespace cosigner::ctl
