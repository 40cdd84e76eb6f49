#pragma once
// Long loops: short by default, at full length under `tests/run --full`, which sets
// COSIGNER_TEST_FULL=1.

#include <cstdlib>

namespace cosigner::test {

/// The length of a loop: `quick` in an ordinary run, `full` under `tests/run --full`.
inline int rounds(int quick, int full) {
  return std::getenv("COSIGNER_TEST_FULL") != nullptr ? full : quick;
}

}  // namespace cosigner::test
