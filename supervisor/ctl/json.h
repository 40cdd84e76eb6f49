#pragma once
// What a node says, as JSON: the form of `--json`, and what the tables are made from.

#include <nlohmann/json.hpp>

#include "ipc/tree.h"
#include "supervisor/ctl/exit_status.h"

namespace cosigner::ctl {

/// Keeps the order in which the node listed the fields.
using Json = nlohmann::ordered_json;

/// Byte strings become hex.
[[nodiscard]] Json to_json(ipc::Node node);
/// A reply's body. Fails (kRefused, internal) on what is no msgpack.
[[nodiscard]] Outcome<Json> parse_body(ByteView body);
/// {"error": NAME, "message": …, "may_have_executed": …, …}
[[nodiscard]] Json error_json(const Error& error);
/// One sentence for people: "message (name; …)".
[[nodiscard]] std::string error_text(const Error& error);

}  // namespace cosigner::ctl
