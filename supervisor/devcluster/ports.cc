#include "supervisor/devcluster/ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

namespace cosigner::devcluster {
namespace {

constexpr std::uint32_t kFirst = 20000;
constexpr std::uint32_t kCount = 12000;

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

template <class Operation>
bool with_socket(std::uint16_t port, Operation operation) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    return false;
  }
  const int one = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);  // as nats-server does
  const sockaddr_in address = loopback(port);
  const bool ok = operation(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return ok;
}

}  // namespace

Expected<std::uint16_t> free_port(Random& random) {
  for (int tries = 0; tries < 100; ++tries) {
    std::array<std::uint8_t, 4> bytes{};
    random.fill(bytes);
    const std::uint32_t number = static_cast<std::uint32_t>(bytes[0]) << 16U |
                                 static_cast<std::uint32_t>(bytes[1]) << 8U | bytes[2];
    const auto port = static_cast<std::uint16_t>(kFirst + number % kCount);
    if (with_socket(port, ::bind) && !accepts_connections(port)) {
      return port;
    }
  }
  return fail(ErrorCode::kOverloaded, "no free TCP port found on 127.0.0.1 after 100 tries.");
}

bool accepts_connections(std::uint16_t port) {
  return with_socket(port, ::connect);
}

}  // namespace cosigner::devcluster
