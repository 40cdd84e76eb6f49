#pragma once
// Every message between the processes of one node, once: for what is done to each of them (codec
// tests, fuzz target, seeds). codec_test.cc shows that no number is missing: a frame of any number
// that is not of this list is refused, and ipc/frame.cc takes all numbers that exist (-Wswitch).

#include "ipc/messages.h"
#include "ipc/metrics_messages.h"
#include "ipc/sandboxed.h"
#include "ipc/start_keys.h"

namespace cosigner::ipc {

template <class... Messages>
struct MessageList {};

using AllMessages =
    MessageList<ZygoteReady, ForkOrder, ForkResult, WorkerHello, WorkerStart, WorkerReady, Work,
                Answer, StorePending, StoreActivate, StoreDiscard, StoreRefusal, Stored,
                StoreResult, ResultLookup, ResultFound, Wake, Presence, EvictAsk, EvictReply,
                RenewAsk, Renewed, Tick, StartKeys, StartKeysTaken, Sandboxed, Checking,
                ipc::Checked, Burn, StoreRenewed, LiftBan, RenewPair, PresignatureStock,
                PresignatureUsed, VerifyKey, KeyVerified, Heartbeat, Drain, Log, Reconfigured,
                GatewayHello, GatewayStart, GatewayReady, GatewayRequest, GatewayAnswer,
                PublishRequest, PublishedAnswer, PublishFailed, PublishDone, PublishWake,
                PeerPresence, BrokerState, WorkerMetrics, GatewayMetrics, MetricsAsk,
                MetricsSnapshot, ControlCall, ControlReply, ControlCancel>;

/// call(Message{}) for each.
template <class Call, class... Messages>
void each(MessageList<Messages...> /*all*/, Call call) {
  (call(Messages{}), ...);
}

}  // namespace cosigner::ipc
