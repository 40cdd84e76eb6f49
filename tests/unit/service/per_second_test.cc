#include "supervisor/service/per_second.h"

#include <catch2/catch.hpp>

namespace cosigner::supervisor::test {

TEST_CASE("so many in each second, and in the next as many again") {
  PerSecond lines;
  for (const std::int64_t second : {0, 1, 1000}) {
    CHECK(lines.take(second * 1000, 2));
    CHECK(lines.take(second * 1000 + 500, 2));
    CHECK_FALSE(lines.take(second * 1000 + 500, 2));
    CHECK_FALSE(lines.take(second * 1000 + 999, 2));
  }
  CHECK_FALSE(lines.take(1'001'000, 0));
}

TEST_CASE("a limit of one each second tells the first of a flood and counts the rest") {
  PerSecond lines;
  int told = 0;
  for (std::int64_t now_ms = 5000; now_ms < 8000; ++now_ms) {
    told += lines.take(now_ms, 1) ? 1 : 0;
  }
  CHECK(told == 3);
}

}  // namespace cosigner::supervisor::test
