#include "supervisor/ctl/control_client.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <limits>

#include "ipc/map_reader.h"
#include "ipc/pack.h"

namespace cosigner::ctl {
namespace {

using Clock = std::chrono::steady_clock;

std::unexpected<Failure> lost(std::string_view why) {
  auto failure = failed(
      ExitStatus::kUnreachable, ErrorCode::kPeerUnreachable,
      "the node's control socket was closed (" + std::string(why) + "); see the node's log.");
  failure.error().error.may_have_executed = true;
  return failure;
}

std::string connect_hint(int error) {
  switch (error) {
    case ENOENT:
      return "there is no such socket: is cosignerd running, and is --socket (or COSIGNER_SOCKET) "
             "right?";
    case ECONNREFUSED:
      return "nobody listens: cosignerd is not running.";
    case EACCES:
    case EPERM:
      return "permission denied: run this as root, as the node's user, or as a member of its "
             "control group.";
    default:
      return std::string(std::strerror(error)) + ".";
  }
}

}  // namespace

Outcome<ControlClient> ControlClient::connect(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return failed(ExitStatus::kUsage, ErrorCode::kBadRequest,
                  path.empty() ? "no control socket given: use --socket or COSIGNER_SOCKET."
                               : "the path of the control socket is longer than 107 bytes.");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  ipc::UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Connecting blocks (a full backlog resolves itself); only then the socket becomes non-blocking.
  if (!socket ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return failed(ExitStatus::kUnreachable, ErrorCode::kPeerUnreachable,
                  path + ": " + connect_hint(errno));
  }
  return ControlClient(std::move(socket));
}

Outcome<std::uint64_t> ControlClient::send(std::string_view command, ByteVector arguments) {
  const ipc::ControlCall call{
      .call = ++last_call_, .command = std::string(command), .arguments = std::move(arguments)};
  if (auto queued = queue(ipc::encode_frame(call, 0)); !queued) {
    return std::unexpected(queued.error());
  }
  return last_call_;
}

Outcome<void> ControlClient::cancel(std::uint64_t call) {
  return queue(ipc::encode_frame(ipc::ControlCancel{.call = call}, 0));
}

Outcome<void> ControlClient::queue(const Expected<ipc::FrameBytes>& frame) {
  if (!frame) {
    return refused(frame.error());
  }
  unsent_.insert(unsent_.end(), frame->begin(), frame->end());
  return flush();
}

Outcome<void> ControlClient::flush() {
  while (sent_ < unsent_.size()) {
    const ssize_t size = ::send(socket_.get(), unsent_.data() + sent_, unsent_.size() - sent_,
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size > 0) {
      sent_ += static_cast<std::size_t>(size);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return {};
    } else if (errno != EINTR) {
      return lost(std::strerror(errno));
    }
  }
  unsent_.clear();
  sent_ = 0;
  return {};
}

Outcome<std::optional<ipc::ControlReply>> ControlClient::next() {
  auto frame = reader_.next();
  if (!frame) {
    return lost("it sent what is no frame: " + frame.error().message);
  }
  if (!*frame) {
    return std::nullopt;
  }
  auto reply = ipc::decode<ipc::ControlReply>(**frame);
  if (!reply) {
    return lost("it sent what is no reply: " + reply.error().message);
  }
  return std::move(*reply);
}

Outcome<std::optional<ipc::ControlReply>> ControlClient::receive(
    std::chrono::milliseconds timeout) {
  const auto end = Clock::now() + timeout;
  for (;;) {
    auto reply = next();
    if (!reply || *reply) {
      return reply;
    }
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(std::max(end - Clock::now(), {}));
    const short wanted = static_cast<short>(unsent_.empty() ? POLLIN : POLLIN | POLLOUT);
    pollfd poll_fd{socket_.get(), wanted, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(left.count()));
    if (ready == 0 || (ready < 0 && errno == EINTR)) {
      return std::nullopt;
    }
    if (ready < 0) {
      return lost(std::strerror(errno));
    }
    if ((poll_fd.revents & POLLOUT) != 0) {
      if (auto flushed = flush(); !flushed) {
        return std::unexpected(flushed.error());
      }
    }
    if ((poll_fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
      std::uint8_t chunk[64U << 10];
      const ssize_t size = ::recv(socket_.get(), chunk, sizeof chunk, MSG_DONTWAIT);
      if (size == 0) {
        return lost("it ended");
      }
      if (size > 0) {
        reader_.feed(ByteView(chunk, static_cast<std::size_t>(size)));
      } else if (errno != EAGAIN && errno != EINTR) {
        return lost(std::strerror(errno));
      }
    }
  }
}

Outcome<ByteVector> ControlClient::call(std::string_view command, ByteVector arguments,
                                        std::chrono::milliseconds timeout) {
  auto parts = call_for_parts(command, std::move(arguments), timeout);
  if (!parts) {
    return std::unexpected(parts.error());
  }
  return std::move(parts->back());
}

Outcome<std::optional<ipc::ControlReply>> ControlClient::reply_to(
    std::uint64_t call, std::chrono::milliseconds timeout) {
  auto reply = receive(timeout);
  if (!reply || !*reply) {
    return reply;
  }
  if ((*reply)->call != call) {
    return std::nullopt;
  }
  if (!(*reply)->error_name.empty()) {
    return refused(reply_error(**reply));
  }
  return reply;
}

Outcome<std::vector<ByteVector>> ControlClient::call_for_parts(std::string_view command,
                                                               ByteVector arguments,
                                                               std::chrono::milliseconds timeout) {
  std::vector<ByteVector> parts;
  const auto number = send(command, std::move(arguments));
  if (!number) {
    return std::unexpected(number.error());
  }
  const auto end = Clock::now() + timeout;
  while (Clock::now() < end) {
    auto reply =
        reply_to(*number, std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()));
    if (!reply) {
      return std::unexpected(reply.error());
    }
    if (!*reply) {
      continue;
    }
    parts.push_back(std::move((*reply)->body));
    if ((*reply)->final) {
      return parts;
    }
  }
  auto late =
      failed(ExitStatus::kDeadline, ErrorCode::kPeerTimeout,
             "the node did not answer within " + std::to_string(timeout.count() / 1000) + " s.");
  late.error().error.may_have_executed = true;
  return late;
}

ByteVector no_arguments() {
  return ipc::MapPacker().finish();
}

Error reply_error(const ipc::ControlReply& reply) {
  Error error{.code = error_from_name(reply.error_name),
              .message = reply.error_message,
              .may_have_executed = reply.may_have_executed};
  // Whether and when to ask again is in the body; a node that does not say so means no.
  if (const auto body = ipc::Tree::parse(reply.body)) {
    ipc::MapReader in(body->root(), "error");
    error.retryable = in.has("retryable") && in.boolean("retryable");
    if (in.has("retry_after_ms")) {
      error.retry_after_ms = static_cast<std::uint32_t>(
          in.unsigned_integer("retry_after_ms", 0, std::numeric_limits<std::uint32_t>::max()));
    }
  }
  return error;
}

}  // namespace cosigner::ctl
