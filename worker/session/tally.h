#pragma once
// What a worker has done since it was last asked, for its node's metrics: requests answered by
// kind, outcome and duration, attempts, retransmissions, peers that misbehaved, failures that name
// nobody.

#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "ipc/metrics_messages.h"

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
  /// Class D: somebody among the signers lied, and nobody can be named (crypto/base/abort.h).
  void unattributable() { ++unattributable_; }

  /// Everything since the last call. `retransmissions`: of the worker's whole life.
  [[nodiscard]] ipc::WorkerMetrics take(std::uint64_t retransmissions);
  /// Whether take() would say anything.
  [[nodiscard]] bool empty(std::uint64_t retransmissions) const {
    return requests_.empty() && attempts_.empty() && misbehaviours_.empty() &&
           unattributable_ == 0 && retransmissions == told_retransmissions_;
  }

 private:
  using Kind = std::tuple<std::string, std::string, std::string>;
  std::map<Kind, ipc::RequestTally> requests_;
  std::map<std::string, ipc::AttemptTally, std::less<>> attempts_;
  std::map<std::string, std::uint64_t> misbehaviours_;
  std::uint64_t unattributable_ = 0;
  std::uint64_t told_retransmissions_ = 0;
};

}  // namespace cosigner::worker
