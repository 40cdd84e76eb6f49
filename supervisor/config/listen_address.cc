#include "supervisor/config/listen_address.h"

#include <arpa/inet.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

namespace cosigner::supervisor {
namespace {

constexpr int kBacklog = 64;

bool is_loopback(const in_addr& address) {
  return ntohl(address.s_addr) >> 24U == 127;
}

}  // namespace

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) {
    return std::nullopt;
  }
  return port;
}

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) {
    return std::nullopt;
  }
  const auto port = parse_port(text.substr(colon + 1));
  std::string host(text.substr(0, colon));
  if (!port) {
    return std::nullopt;
  }
  ListenAddress out;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    auto* address = reinterpret_cast<sockaddr_in6*>(&out.address);
    address->sin6_family = AF_INET6;
    address->sin6_port = htons(*port);
    if (::inet_pton(AF_INET6, host.c_str(), &address->sin6_addr) != 1 ||
        IN6_IS_ADDR_LOOPBACK(&address->sin6_addr) == 0) {
      return std::nullopt;
    }
    out.size = sizeof(sockaddr_in6);
    return out;
  }
  auto* address = reinterpret_cast<sockaddr_in*>(&out.address);
  address->sin_family = AF_INET;
  address->sin_port = htons(*port);
  if (::inet_pton(AF_INET, host.c_str(), &address->sin_addr) != 1 ||
      !is_loopback(address->sin_addr)) {
    return std::nullopt;
  }
  out.size = sizeof(sockaddr_in);
  return out;
}

Expected<ipc::UniqueFd> listen_on(const ListenAddress& address) {
  ipc::UniqueFd fd(
      ::socket(address.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int yes = 1;
  // A port whose last connections are in TIME_WAIT is free; one with a listener is not.
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address.address), address.size) != 0 ||
      ::listen(fd.get(), kBacklog) != 0) {
    return fail(errno == EADDRINUSE ? ErrorCode::kConflict : ErrorCode::kInternal,
                std::strerror(errno));
  }
  return fd;
}

}  // namespace cosigner::supervisor
