#include "worker/session/tally.h"

#include <algorithm>
#include <utility>

#include "ipc/duration_buckets.h"

namespace cosigner::worker {

void Tally::request(std::string_view operation, std::string_view scheme, std::string_view outcome,
                    std::int64_t duration_us) {
  const auto took = static_cast<std::uint64_t>(std::max<std::int64_t>(duration_us, 0));
  ipc::RequestTally& tally =
      requests_[Kind(std::string(operation), std::string(scheme), std::string(outcome))];
  tally.buckets.resize(ipc::kDurationBuckets);
  ++tally.buckets[ipc::duration_bucket(took)];
  tally.total_us += took;
}

void Tally::attempt(std::string_view operation, bool again) {
  ipc::AttemptTally& tally = attempts_[std::string(operation)];
  ++tally.attempts;
  tally.failovers += again ? 1U : 0U;
}

ipc::WorkerMetrics Tally::take(const Counters& counted) {
  ipc::WorkerMetrics out;
  for (auto& [kind, tally] : std::exchange(requests_, {})) {
    std::tie(tally.operation, tally.scheme, tally.outcome) = kind;
    out.requests.push_back(std::move(tally));
  }
  for (auto& [operation, tally] : std::exchange(attempts_, {})) {
    tally.operation = operation;
    out.attempts.push_back(std::move(tally));
  }
  for (const auto& [node, count] : std::exchange(misbehaviours_, {})) {
    ipc::PeerTally tally;
    tally.node = node;
    tally.misbehaviours = count;
    out.peers.push_back(std::move(tally));
  }
  out.events = ipc::take_since(told_, counted);
  return out;
}

}  // namespace cosigner::worker
