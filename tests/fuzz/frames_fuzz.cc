// A byte stream, cut at places that the input chooses, into frames and then into messages. What
// decodes must encode to something that decodes to the same again.

#include "ipc/frame.h"
#include "ipc/messages.h"
#include "ipc/sandboxed.h"
#include "ipc/start_keys.h"
#include "tests/fuzz/require.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

template <class Message>
void try_decode(const Frame& frame) {
  if (const auto message = decode<Message>(frame)) {
    const SecretVector once = encode(*message);
    const auto again = decode<Message>(as_view(once));
    fuzz::require(again.has_value() && encode(*again) == once);
  }
}

template <class... Messages>
void try_all(const Frame& frame) {
  (try_decode<Messages>(frame), ...);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) {
    return 0;
  }
  const std::size_t step = 1 + data[0];
  const ByteView stream(data + 1, size - 1);
  FrameReader reader;
  for (std::size_t at = 0; at < stream.size(); at += step) {
    reader.feed(stream.subspan(at, std::min(step, stream.size() - at)));
    for (;;) {
      const auto frame = reader.next();
      if (!frame) {
        return 0;
      }
      if (!*frame) {
        break;
      }
      try_all<ZygoteReady, ForkOrder, ForkResult, WorkerHello, WorkerStart, WorkerReady, Work,
              Answer, StorePending, StoreActivate, StoreDiscard, StoreRefusal, Stored, StoreResult,
              ResultLookup, ResultFound, Wake, Presence, EvictAsk, EvictReply, RenewAsk, Renewed,
              Checking, Checked, Burn, StoreRenewed, LiftBan, RenewPair, PresignatureStock,
              PresignatureUsed, VerifyKey, KeyVerified, Tick, StartKeys, StartKeysTaken, Sandboxed,
              Heartbeat, Drain, Log, GatewayHello, GatewayStart, GatewayReady, GatewayRequest,
              GatewayAnswer, PublishRequest, PublishedAnswer, PublishFailed, PublishDone,
              PublishWake, PeerPresence, BrokerState, ControlCall, ControlReply, ControlCancel>(
          **frame);
    }
  }
  return 0;
}
