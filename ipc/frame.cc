#include "ipc/frame.h"

#include "crypto/base/wire.h"
#include "ipc/message_types.h"

namespace cosigner::ipc {
namespace {

constexpr std::size_t kLengthBytes = 4;
// msgpack: array of 4; then the version as a small integer, uint16 and uint64 in their full width.
constexpr std::uint8_t kArrayOf4 = 0x94;
constexpr std::uint8_t kUint16 = 0xcd;
constexpr std::uint8_t kUint64 = 0xcf;

bool known(std::uint16_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::kZygoteReady:
    case MessageType::kForkOrder:
    case MessageType::kForkResult:
    case MessageType::kWorkerHello:
    case MessageType::kWorkerStart:
    case MessageType::kWorkerReady:
    case MessageType::kWork:
    case MessageType::kAnswer:
    case MessageType::kStorePending:
    case MessageType::kStoreActivate:
    case MessageType::kStoreDiscard:
    case MessageType::kStoreRefusal:
    case MessageType::kStored:
    case MessageType::kStoreResult:
    case MessageType::kResultLookup:
    case MessageType::kResultFound:
    case MessageType::kWake:
    case MessageType::kPresence:
    case MessageType::kEvictAsk:
    case MessageType::kEvictReply:
    case MessageType::kRenewAsk:
    case MessageType::kRenewed:
    case MessageType::kTick:
    case MessageType::kPresignatureStock:
    case MessageType::kPresignatureUsed:
    case MessageType::kChecking:
    case MessageType::kChecked:
    case MessageType::kBurn:
    case MessageType::kStoreRenewed:
    case MessageType::kLiftBan:
    case MessageType::kRenewPair:
    case MessageType::kVerifyKey:
    case MessageType::kKeyVerified:
    case MessageType::kStartKeys:
    case MessageType::kStartKeysTaken:
    case MessageType::kSandboxed:
    case MessageType::kWorkerMetrics:
    case MessageType::kHeartbeat:
    case MessageType::kDrain:
    case MessageType::kLog:
    case MessageType::kReconfigured:
    case MessageType::kGatewayHello:
    case MessageType::kGatewayStart:
    case MessageType::kGatewayReady:
    case MessageType::kGatewayRequest:
    case MessageType::kGatewayAnswer:
    case MessageType::kPublishRequest:
    case MessageType::kPublishedAnswer:
    case MessageType::kPublishFailed:
    case MessageType::kPublishDone:
    case MessageType::kPublishWake:
    case MessageType::kPeerPresence:
    case MessageType::kBrokerState:
    case MessageType::kGatewayMetrics:
    case MessageType::kMetricsAsk:
    case MessageType::kMetricsSnapshot:
    case MessageType::kControlCall:
    case MessageType::kControlReply:
    case MessageType::kControlCancel:
      return true;
  }
  return false;
}

// Everything after the length.
Expected<Frame> parse_payload(ByteView payload) {
  Reader reader(payload);
  const std::uint8_t array = reader.u8();
  const std::uint8_t version = reader.u8();
  if (reader.ok() && array == kArrayOf4 && version != kFrameVersion) {
    return fail(ErrorCode::kUnsupportedVersion, "a frame of another version");
  }
  const bool type_form = reader.u8() == kUint16;
  const std::uint16_t type = reader.u16();
  const bool generation_form = reader.u8() == kUint64;
  const std::uint64_t generation = reader.u64();
  if (!reader.ok() || array != kArrayOf4 || !type_form || !generation_form || !known(type)) {
    return fail(ErrorCode::kBadRequest, "not a frame");
  }
  const ByteView body = reader.fixed(reader.remaining());
  return Frame{static_cast<MessageType>(type), generation, FrameBytes(body.begin(), body.end())};
}

}  // namespace

Expected<FrameBytes> make_frame(MessageType type, std::uint64_t generation, ByteView body) {
  if (body.size() > kMaxFrameBytes - kFrameHeaderBytes) {
    return fail(ErrorCode::kOverloaded,
                "a message of " + std::to_string(body.size()) + " bytes does not fit a frame");
  }
  Writer header;
  header.u32(static_cast<std::uint32_t>(kFrameHeaderBytes + body.size()))
      .u8(kArrayOf4)
      .u8(kFrameVersion)
      .u8(kUint16)
      .u16(static_cast<std::uint16_t>(type))
      .u8(kUint64)
      .u64(generation);
  FrameBytes out;
  out.reserve(header.view().size() + body.size());
  out.insert(out.end(), header.view().begin(), header.view().end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

Expected<Frame> parse_frame(ByteView packet) {
  Reader reader(packet);
  const ByteView payload = reader.bytes(kMaxFrameBytes);
  if (!reader.finished()) {
    return fail(ErrorCode::kBadRequest, "not exactly one frame");
  }
  return parse_payload(payload);
}

void FrameReader::feed(ByteView bytes) {
  if (error_) {
    return;
  }
  // What has been consumed is moved away before the buffer would have to grow for it.
  if (begin_ > 0 && (begin_ == buffer_.size() || begin_ >= buffer_.size() / 2)) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(begin_));
    begin_ = 0;
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

Expected<std::optional<Frame>> FrameReader::next() {
  if (error_) {
    return std::unexpected(*error_);
  }
  const ByteView rest = as_view(buffer_).subspan(begin_);
  if (rest.size() < kLengthBytes) {
    return std::nullopt;
  }
  const std::size_t size = Reader(rest).u32();
  if (size < kFrameHeaderBytes || size > max_) {
    error_ = fail(ErrorCode::kBadRequest, "a frame of impossible length").error();
    return std::unexpected(*error_);
  }
  if (rest.size() < kLengthBytes + size) {
    return std::nullopt;
  }
  auto frame = parse_payload(rest.subspan(kLengthBytes, size));
  if (!frame) {
    error_ = frame.error();
    return std::unexpected(*error_);
  }
  begin_ += kLengthBytes + size;
  if (begin_ == buffer_.size()) {
    sodium_memzero(buffer_.data(), buffer_.size());
    buffer_.clear();
    begin_ = 0;
    // One large frame must not pin its memory for the life of an idle worker.
    if (buffer_.capacity() > (256U << 10)) {
      buffer_ = FrameBytes();
    }
  }
  return std::move(*frame);
}

}  // namespace cosigner::ipc
