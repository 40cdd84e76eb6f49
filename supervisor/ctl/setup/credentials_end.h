#pragma once
// The day on which a `.creds` file stops working, for an operator to know beforehand. Nothing is
// verified: whoever may connect is decided by the nats-server.

#include <cstdint>
#include <string_view>

#include "ipc/error.h"

namespace cosigner::ctl {

/// `credentials`: the text of the file. Seconds since 1970; 0: never. Errors: bad_request.
[[nodiscard]] Expected<std::int64_t> credentials_end(std::string_view credentials);

}  // namespace cosigner::ctl
