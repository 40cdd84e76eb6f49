#pragma once
// A property that a fuzz target checks: its failure is a finding.

#include <cstdlib>

namespace cosigner::fuzz {

inline void require(bool ok) {
  if (!ok) {
    std::abort();
  }
}

}  // namespace cosigner::fuzz
