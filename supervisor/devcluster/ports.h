#pragma once
// Free TCP ports on 127.0.0.1.

#include <cstdint>

#include "crypto/base/random.h"
#include "ipc/error.h"

namespace cosigner::devcluster {

/// A port that nobody listens on now. It lies in 20000..32000, below Linux's default range for
/// outgoing connections (32768..60999), so that no connection takes it before the server does;
/// another server still may: callers retry.
[[nodiscard]] Expected<std::uint16_t> free_port(Random& random);

/// True once something accepts connections there.
[[nodiscard]] bool accepts_connections(std::uint16_t port);

}  // namespace cosigner::devcluster
