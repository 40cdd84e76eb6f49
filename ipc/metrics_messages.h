#pragma once
// What workers and the gateway count, on its way to the supervisor, and the supervisor's metrics on
// their way to the HTTP listener. Counts are what came since the last frame of the kind: whoever
// dies takes at most half a second of them along. No user, key or session is named. A frame has a
// place for each event that there is, and none for any other.

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/counter_list.h"
#include "ipc/message_types.h"
#include "ipc/session_events.h"

namespace cosigner::ipc {

/// No process does more of anything between two reports, half a second apart: who says so lies.
inline constexpr std::uint64_t kMaxCounted = 1ULL << 32;

/// Requests of one kind that were answered.
struct RequestTally {
  std::string operation;               ///< empty: it could not be read
  std::string scheme;                  ///< empty: likewise
  std::string outcome;                 ///< "ok" or an error's name
  std::vector<std::uint64_t> buckets;  ///< by duration, see duration_buckets.h
  std::uint64_t total_us = 0;          ///< all their durations
  COSIGNER_PART(operation, scheme, outcome, buckets, total_us)
};
struct AttemptTally {
  std::string operation;
  std::uint64_t attempts = 0;
  std::uint64_t failovers = 0;  ///< of those: not the first of their session
  COSIGNER_PART(operation, attempts, failovers)
};
struct PeerTally {
  std::string node;
  std::uint64_t misbehaviours = 0;
  COSIGNER_PART(node, misbehaviours)
};
struct WorkerMetrics {
  std::vector<RequestTally> requests;
  std::vector<AttemptTally> attempts;
  std::vector<PeerTally> peers;
  SessionEvents events;
  COSIGNER_MESSAGE(kWorkerMetrics, requests, attempts, peers, events)
};

struct RefusalTally {
  std::string error;
  std::uint64_t count = 0;
  COSIGNER_PART(error, count)
};
/// What the gateway drops besides requests, and what its broker does not take. Each comes out of
/// the node as cosigner_gateway_events_total{event="its name"}.
struct GatewayEvents {
  std::uint64_t packets_stray = 0;          ///< on a subject that means nothing to it
  std::uint64_t requests_unanswerable = 0;  ///< a client's, without an inbox for the answer
  std::uint64_t beacons_refused = 0;        ///< of no peer, not readable, not signed, heard before
  std::uint64_t discoveries_refused = 0;    ///< without an inbox, or beyond the rate
  std::uint64_t publishes_refused = 0;      ///< that the connection to the broker did not take
  COSIGNER_COUNTERS(packets_stray, requests_unanswerable, beacons_refused, discoveries_refused,
                    publishes_refused)

  friend bool operator==(const GatewayEvents&, const GatewayEvents&) = default;
};
struct GatewayMetrics {
  std::vector<RefusalTally> refused;
  // Not answered at all:
  std::uint64_t dropped_refusals = 0;   ///< refused, and the rate of refusals was used up
  std::uint64_t dropped_repeats = 0;    ///< one request again and again
  std::uint64_t dropped_strangers = 0;  ///< forwarded by a node that is no peer
  GatewayEvents events;
  COSIGNER_MESSAGE(kGatewayMetrics, refused, dropped_refusals, dropped_repeats, dropped_strangers,
                   events)
};

/// The HTTP listener wants the state of now.
struct MetricsAsk {
  std::uint64_t ask = 0;
  bool text = false;  ///< the metrics as well; without, the answer comes at once
  COSIGNER_MESSAGE(kMetricsAsk, ask, text)
};
struct MetricsSnapshot {
  std::uint64_t ask = 0;
  bool ready = false;
  std::string why;  ///< not ready
  ByteVector text;  ///< Prometheus text format; empty if not asked for
  COSIGNER_MESSAGE(kMetricsSnapshot, ask, ready, why, text)
};

}  // namespace cosigner::ipc
