#pragma once
// What a worker has done since it was last asked, for its node's metrics: requests answered by
// kind, outcome and duration, attempts, peers that misbehaved, and every event that is counted.

#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "ipc/metrics_messages.h"
#include "worker/session/counters.h"

namespace cosigner::worker {

class Tally {
 public:
  /// `outcome`: "ok" or an error's name. `operation` and `scheme` are empty where they could not be
  /// read.
  void request(std::string_view operation, std::string_view scheme, std::string_view outcome,
               std::int64_t duration_us);
  /// `again`: not the session's first.
  void attempt(std::string_view operation, bool again);
  void misbehaviour(const std::string& node) { ++misbehaviours_[node]; }

  /// Everything since the last call. `counted`: in the worker's whole life.
  [[nodiscard]] ipc::WorkerMetrics take(const Counters& counted);
  /// Whether take() would say anything.
  [[nodiscard]] bool empty(const Counters& counted) const {
    return requests_.empty() && attempts_.empty() && misbehaviours_.empty() && counted == told_;
  }

 private:
  using Kind = std::tuple<std::string, std::string, std::string>;
  std::map<Kind, ipc::RequestTally> requests_;
  std::map<std::string, ipc::AttemptTally, std::less<>> attempts_;
  std::map<std::string, std::uint64_t> misbehaviours_;
  Counters told_;
};

}  // namespace cosigner::worker
