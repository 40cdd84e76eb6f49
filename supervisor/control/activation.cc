#include "supervisor/control/activation.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>

#include <vector>

namespace cosigner::supervisor {

Expected<std::optional<ipc::UniqueFd>> take_control_socket(const std::string& path) {
  const int count = ::sd_listen_fds(1);
  if (count <= 0) {
    return std::nullopt;
  }
  std::vector<ipc::UniqueFd> passed;
  for (int i = 0; i < count; ++i) {
    passed.emplace_back(SD_LISTEN_FDS_START + i);
  }
  const int fd = passed.front().get();
  if (count != 1 || ::sd_is_socket_unix(fd, SOCK_STREAM, 1, path.c_str(), 0) <= 0) {
    return fail(ErrorCode::kConflict,
                "systemd passed " + std::to_string(count) +
                    " sockets, which are not the one stream socket at " + path +
                    ": make ListenStream= of the socket unit and control_socket agree");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) {
    return fail(ErrorCode::kInternal, "the control socket passed by systemd cannot be set up");
  }
  return std::move(passed.front());
}

void end_activation() {
  const int count = ::sd_listen_fds(1);
  for (int i = 0; i < count; ++i) {
    ::shutdown(SD_LISTEN_FDS_START + i, SHUT_RDWR);
  }
}

}  // namespace cosigner::supervisor
