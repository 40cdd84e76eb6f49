#pragma once
// What workers and the gateway count, on its way to the supervisor, and the supervisor's metrics on
// their way to the HTTP listener. Counts are what came since the last frame of the kind: whoever
// dies takes at most half a second of them along. No user, key or session is named.

#include <cstdint>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "ipc/message_types.h"

namespace cosigner::ipc {

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
  std::uint64_t retransmissions = 0;
  std::uint64_t unattributable = 0;  ///< failures of class D: nobody can be named
  COSIGNER_MESSAGE(kWorkerMetrics, requests, attempts, peers, retransmissions, unattributable)
};

struct RefusalTally {
  std::string error;
  std::uint64_t count = 0;
  COSIGNER_PART(error, count)
};
struct GatewayMetrics {
  std::vector<RefusalTally> refused;
  // Not answered at all:
  std::uint64_t dropped_refusals = 0;   ///< refused, and the rate of refusals was used up
  std::uint64_t dropped_repeats = 0;    ///< one request again and again
  std::uint64_t dropped_strangers = 0;  ///< forwarded by a node that is no peer
  COSIGNER_MESSAGE(kGatewayMetrics, refused, dropped_refusals, dropped_repeats, dropped_strangers)
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
