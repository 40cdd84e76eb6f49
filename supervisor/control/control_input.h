#pragma once
// What a client of the control socket may send, as a pure function from a frame: the seam that the
// fuzz target `control` drives.

#include <optional>
#include <variant>

#include "ipc/control_messages.h"
#include "ipc/frame.h"

namespace cosigner::supervisor {

using ControlInput = std::variant<ipc::ControlCall, ipc::ControlCancel>;

/// Nothing: garbage, after which the connection ends.
[[nodiscard]] std::optional<ControlInput> read_control_input(const ipc::Frame& frame);

}  // namespace cosigner::supervisor
