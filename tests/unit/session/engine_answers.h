#pragma once
// What a cluster of engines answered, and how soon.

#include <algorithm>
#include <vector>

#include "tests/support/engine_cluster.h"
#include "tests/support/request_answers.h"

namespace cosigner::test {

inline ErrorCode code_of(const RequestAnswer& answer) {
  const Error* error = error_of(answer);
  return error == nullptr ? ErrorCode::kInternal : error->code;
}

inline std::int64_t slowest(const EngineCluster& cluster, const std::vector<std::uint64_t>& works) {
  std::int64_t took = 0;
  for (const std::uint64_t id : works) {
    took = std::max(took, cluster.work(id).answered_us - cluster.work(id).asked_us);
  }
  return took;
}

}  // namespace cosigner::test
