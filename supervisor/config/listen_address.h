#pragma once
// ADDRESS:PORT of a listener of this host's loopback: 127.0.0.1:9464 or [::1]:9464.

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <optional>
#include <string_view>

#include "ipc/error.h"
#include "ipc/unique_fd.h"

namespace cosigner::supervisor {

/// 1 to 65535, in decimal.
[[nodiscard]] std::optional<std::uint16_t> parse_port(std::string_view text);

struct ListenAddress {
  sockaddr_storage address{};
  socklen_t size = 0;
};
/// Nothing if it is no numeric loopback address with a port. Other addresses are refused: what is
/// served there has neither encryption nor passwords, a proxy that has both belongs in front.
[[nodiscard]] std::optional<ListenAddress> parse_listen_address(std::string_view text);

/// A listening stream socket, non-blocking. Errors: conflict where the port is in use.
[[nodiscard]] Expected<ipc::UniqueFd> listen_on(const ListenAddress& address);

}  // namespace cosigner::supervisor
