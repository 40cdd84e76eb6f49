#pragma once
// One frame per packet over a SOCK_SEQPACKET socket, with up to two descriptors alongside where
// needed (SCM_RIGHTS): the socket between supervisor and zygote. No loop of its own: the zygote
// blocks on it, the supervisor polls it.

#include <optional>
#include <utility>

#include "ipc/frame.h"
#include "ipc/unique_fd.h"

namespace cosigner::ipc {

/// Zygote messages are small: a user's name, an error's sentence. The zygote clears a buffer of
/// this size for each order, beside which its children lie: at 64 KiB each child had a copy of its
/// own.
inline constexpr std::size_t kMaxPacketBytes = 8U << 10;

struct Packet {
  Frame frame;
  UniqueFd fd;      ///< close-on-exec; empty if none came
  UniqueFd second;  ///< likewise
};

enum class ReceiveStatus : std::uint8_t {
  kPacket,
  kWouldBlock,  ///< a non-blocking socket has nothing now
  kEnd          ///< the peer is gone
};
struct Received {
  ReceiveStatus status = ReceiveStatus::kEnd;
  Packet packet;  ///< only with kPacket
};

/// `fd` ≥ 0 travels along, and then `second` ≥ 0 too (the caller keeps and closes its own). Fails
/// with `overloaded` when the socket is full (EAGAIN: retryable) and `internal` otherwise.
[[nodiscard]] Expected<void> send_packet(int socket, const FrameBytes& frame, int fd = -1,
                                         int second = -1);
/// Fails with `bad_request` for a packet that is no frame, is cut off, or brings more than two
/// descriptors (all of which are closed), `internal` for other system errors.
[[nodiscard]] Expected<Received> receive_packet(int socket);

/// A connected pair; `type` is SOCK_STREAM or SOCK_SEQPACKET. Both ends close-on-exec.
[[nodiscard]] Expected<std::pair<UniqueFd, UniqueFd>> socket_pair(int type);

}  // namespace cosigner::ipc
