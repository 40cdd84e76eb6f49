#pragma once
// Frames between the processes of one node: u32-be length ‖ msgpack [version=1, type, generation,
// body], where body is the array of the message's fields. The three integers have fixed widths (one
// byte, uint16, uint64), so that the header is 14 bytes long and is read without a parser.

#include <cstdint>
#include <optional>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"
#include "ipc/codec.h"
#include "ipc/error.h"
#include "ipc/message_types.h"

namespace cosigner::ipc {

inline constexpr std::uint8_t kFrameVersion = 1;
/// Of everything after the length.
inline constexpr std::size_t kMaxFrameBytes = (4U << 20) + (64U << 10);
inline constexpr std::size_t kFrameHeaderBytes = 14;

/// Encoded frames may hold a sealing key: their memory is wiped when it is given back.
using FrameBytes = SecretVector;

struct Frame {
  MessageType type = MessageType::kZygoteReady;
  std::uint64_t generation = 0;
  FrameBytes body;  ///< the message's fields, still encoded
};

/// Prefixes length and header. Fails with `overloaded` when the message does not fit a frame.
[[nodiscard]] Expected<FrameBytes> make_frame(MessageType type, std::uint64_t generation,
                                              ByteView body);

template <class Message>
[[nodiscard]] Expected<FrameBytes> encode_frame(const Message& message, std::uint64_t generation) {
  const SecretVector body = encode(message);
  return make_frame(Message::kType, generation, as_view(body));
}

/// Strict: the frame's type must be the message's; see ipc/codec.h for the rest. Errors are
/// bad_request.
template <class Message>
[[nodiscard]] Expected<Message> decode(const Frame& frame) {
  if (frame.type != Message::kType) {
    return fail(ErrorCode::kBadRequest, "the frame carries another message type");
  }
  return decode<Message>(as_view(frame.body));
}

/// One whole frame (length included), as a SOCK_SEQPACKET packet carries it.
[[nodiscard]] Expected<Frame> parse_frame(ByteView packet);

/// Cuts a byte stream into frames. Pure and bounded: keeps at most one frame and what one feed
/// brought beyond it. After an error it stays in error: a stream cannot be found again.
class FrameReader {
 public:
  explicit FrameReader(std::size_t max_frame_bytes = kMaxFrameBytes) : max_(max_frame_bytes) {}

  void feed(ByteView bytes);
  /// The next whole frame, nothing if more bytes are needed, or why the stream is no good.
  [[nodiscard]] Expected<std::optional<Frame>> next();
  /// Bytes kept.
  [[nodiscard]] std::size_t pending() const { return buffer_.size() - begin_; }

 private:
  std::size_t max_;
  SecretVector buffer_;
  std::size_t begin_ = 0;
  std::optional<Error> error_;
};

}  // namespace cosigner::ipc
