#pragma once
// What a worker's session engine counts. Nothing a peer sends is dropped without one of these going
// up. Each comes out of the node as cosigner_session_events_total{event="its name"}, summed over
// all workers; packaging/monitoring/metrics.md says what each means to an operator.

#include <cstdint>

#include "ipc/counter_list.h"

namespace cosigner::ipc {

struct SessionEvents {
  // packets
  std::uint64_t packets_malformed = 0;  ///< not one of our packets, or not readable to its end
  std::uint64_t packets_duplicate = 0;  ///< a sequence number seen before
  std::uint64_t packets_unopened = 0;   ///< sealed, but not by the channel it claims
  std::uint64_t packets_unknown = 0;    ///< sealed by a worker whose certificate is not known here
  std::uint64_t packets_other_worker = 0;  ///< for another generation of this worker
  std::uint64_t certificates_refused = 0;
  std::uint64_t stale_generation = 0;  ///< from a generation that a later one has replaced
  std::uint64_t retransmissions = 0;
  std::uint64_t undelivered = 0;        ///< given up after the last attempt
  std::uint64_t queue_full = 0;         ///< messages not sent because a peer's queue was full
  std::uint64_t publishes_refused = 0;  ///< packets that the connection to the broker did not take
  // messages
  std::uint64_t messages_malformed = 0;
  std::uint64_t messages_stray = 0;        ///< of a session that is not running here
  std::uint64_t messages_late = 0;         ///< of an attempt that is over
  std::uint64_t messages_early = 0;        ///< of an attempt this node is not in
  std::uint64_t messages_refused = 0;      ///< from a node that has no business sending them
  std::uint64_t hellos_refused = 0;        ///< bad signature, other key, other epoch, unknown node
  std::uint64_t hellos_other_version = 0;  ///< signed, of a release without a common version
  std::uint64_t hellos_dropped = 0;        ///< early ones that did not fit the bounds or grew old
  std::uint64_t equivocations = 0;
  std::uint64_t misbehaviours = 0;
  // sessions
  std::uint64_t sessions_started = 0;
  std::uint64_t sessions_succeeded = 0;
  std::uint64_t sessions_failed = 0;
  std::uint64_t attempts = 0;
  std::uint64_t attempts_failed = 0;
  std::uint64_t requests_refused = 0;
  std::uint64_t requests_joined = 0;
  std::uint64_t results_served = 0;
  std::uint64_t wakes = 0;
  std::uint64_t exceptions = 0;
  // presignatures
  std::uint64_t presign_runs = 0;     ///< begun, or joined
  std::uint64_t presign_refused = 0;  ///< proposals of peers
  std::uint64_t presign_failed = 0;
  std::uint64_t presignatures_made = 0;     ///< own and held
  std::uint64_t presignatures_named = 0;    ///< taken for an attempt, here or by a peer's start
  std::uint64_t presignatures_missing = 0;  ///< a start named one that is not held here
  std::uint64_t burns = 0;                  ///< class C failures: pairs banned
  std::uint64_t unattributable = 0;         ///< class D failures: nobody can be named
  std::uint64_t renewals = 0;               ///< of pairs' OT state, made durable here
  // cost
  std::uint64_t hello_signatures = 0;
  std::uint64_t hello_verifications = 0;
  std::uint64_t certificate_verifications = 0;
  COSIGNER_COUNTERS(packets_malformed, packets_duplicate, packets_unopened, packets_unknown,
                    packets_other_worker, certificates_refused, stale_generation, retransmissions,
                    undelivered, queue_full, publishes_refused, messages_malformed, messages_stray,
                    messages_late, messages_early, messages_refused, hellos_refused,
                    hellos_other_version, hellos_dropped, equivocations, misbehaviours,
                    sessions_started, sessions_succeeded, sessions_failed, attempts,
                    attempts_failed, requests_refused, requests_joined, results_served, wakes,
                    exceptions, presign_runs, presign_refused, presign_failed, presignatures_made,
                    presignatures_named, presignatures_missing, burns, unattributable, renewals,
                    hello_signatures, hello_verifications, certificate_verifications)

  friend bool operator==(const SessionEvents&, const SessionEvents&) = default;
};

}  // namespace cosigner::ipc
