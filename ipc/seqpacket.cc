#include "ipc/seqpacket.h"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace cosigner::ipc {
namespace {

std::unexpected<Error> system_error(const char* what) {
  return fail(ErrorCode::kInternal, std::string(what) + ": " + std::strerror(errno));
}

// Room for more descriptors than the two allowed: those that come must be seen to be closed.
constexpr std::size_t kMaxDescriptors = 16;

std::vector<UniqueFd> take_descriptors(msghdr& message) {
  std::vector<UniqueFd> out;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr;
       part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
      out.emplace_back(fd);
    }
  }
  return out;
}

}  // namespace

Expected<void> send_packet(int socket, const FrameBytes& frame, int fd, int second) {
  if (frame.size() > kMaxPacketBytes) {
    return fail(ErrorCode::kInternal, "a frame too large for a packet");
  }
  iovec part{const_cast<std::uint8_t*>(frame.data()), frame.size()};
  const std::array<int, 2> descriptors{fd, second};
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof descriptors)> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    const std::size_t size = (second >= 0 ? 2 : 1) * sizeof(int);
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(size);
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(size);
    std::memcpy(CMSG_DATA(header), descriptors.data(), size);
  }
  while (::sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      auto full = fail(ErrorCode::kOverloaded, "the socket is full").error();
      full.retryable = true;
      return std::unexpected(full);
    }
    if (errno != EINTR) {
      return system_error("sendmsg");
    }
  }
  return {};
}

Expected<Received> receive_packet(int socket) {
  SecretVector buffer(kMaxPacketBytes);
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(kMaxDescriptors * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) {
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return Received{ReceiveStatus::kWouldBlock, {}};
    }
    if (errno == ECONNRESET) {
      return Received{ReceiveStatus::kEnd, {}};
    }
    return system_error("recvmsg");
  }
  std::vector<UniqueFd> descriptors = take_descriptors(message);
  if (size == 0 && descriptors.empty()) {
    return Received{ReceiveStatus::kEnd, {}};
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || descriptors.size() > 2) {
    return fail(ErrorCode::kBadRequest, "a packet that is cut off or brings several descriptors");
  }
  auto frame = parse_frame(as_view(buffer).first(static_cast<std::size_t>(size)));
  if (!frame) {
    return std::unexpected(frame.error());
  }
  Received out{ReceiveStatus::kPacket, {std::move(*frame), {}, {}}};
  if (!descriptors.empty()) {
    out.packet.fd = std::move(descriptors.front());
  }
  if (descriptors.size() > 1) {
    out.packet.second = std::move(descriptors.back());
  }
  return out;
}

Expected<std::pair<UniqueFd, UniqueFd>> socket_pair(int type) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) {
    return system_error("socketpair");
  }
  return std::pair{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

}  // namespace cosigner::ipc
