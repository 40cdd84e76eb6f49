#pragma once
// The numbers of all messages between the processes of one node, and how a message says what it
// consists of: a struct lists its fields in wire order in `fields()`; ipc/codec.h encodes and
// strictly decodes from that list (exact count, exact types, bounded sizes). A new message gets a
// new number; a changed one gets a new frame version (ipc/frame.h).

#include <cstdint>
#include <tuple>

namespace cosigner::ipc {

enum class MessageType : std::uint16_t {
  // supervisor ↔ zygote
  kZygoteReady = 1,
  kForkOrder = 2,
  kForkResult = 3,
  // supervisor ↔ worker
  kWorkerHello = 10,
  kWorkerStart = 11,
  kWorkerReady = 12,
  kWork = 13,
  kAnswer = 14,
  kStorePending = 15,
  kStoreActivate = 16,
  kStoreDiscard = 17,
  kStoreRefusal = 18,
  kStored = 19,
  kStoreResult = 20,
  kResultLookup = 21,
  kResultFound = 22,
  kWake = 23,
  kPresence = 24,
  kEvictAsk = 25,
  kEvictReply = 26,
  kRenewAsk = 27,
  kRenewed = 28,
  kTick = 29,
  kPresignatureStock = 36,
  kPresignatureUsed = 37,
  kChecking = 30,
  kChecked = 31,
  kBurn = 32,
  kStoreRenewed = 33,
  kLiftBan = 34,
  kRenewPair = 35,
  kVerifyKey = 38,
  kKeyVerified = 39,
  kStartKeys = 50,
  kStartKeysTaken = 51,
  kSandboxed = 52,
  kWorkerMetrics = 45,
  // both worker and gateway
  kHeartbeat = 40,
  kDrain = 41,
  kLog = 42,
  kReconfigured = 43,
  // supervisor ↔ gateway
  kGatewayHello = 60,
  kGatewayStart = 61,
  kGatewayReady = 62,
  kGatewayRequest = 63,
  kGatewayAnswer = 64,
  kPublishRequest = 65,
  kPublishedAnswer = 66,
  kPublishFailed = 67,
  kPublishDone = 68,
  kPublishWake = 69,
  kPeerPresence = 70,
  kBrokerState = 71,
  kGatewayMetrics = 46,
  // supervisor ↔ exporter
  kMetricsAsk = 80,
  kMetricsSnapshot = 81,
  // cosignerctl ↔ supervisor
  kControlCall = 90,
  kControlReply = 91,
  kControlCancel = 92,
};

#define COSIGNER_MESSAGE(TYPE, ...)                       \
  static constexpr MessageType kType = MessageType::TYPE; \
  auto fields() {                                         \
    return std::tie(__VA_ARGS__);                         \
  }                                                       \
  auto fields() const {                                   \
    return std::tie(__VA_ARGS__);                         \
  }
#define COSIGNER_PART(...)        \
  auto fields() {                 \
    return std::tie(__VA_ARGS__); \
  }                               \
  auto fields() const {           \
    return std::tie(__VA_ARGS__); \
  }

}  // namespace cosigner::ipc
