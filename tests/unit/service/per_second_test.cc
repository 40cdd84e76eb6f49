// Limits for each second.

#include "supervisor/service/per_second.h"

#include <catch2/catch.hpp>

using namespace cosigner::supervisor;

TEST_CASE(
    "so many a second of each user: a busy one uses up nobody else's, and users are bounded") {
  PerSecondOfEach each;
  for (int i = 0; i < 1000; ++i) {
    CHECK(each.take(1000, 5000 + i / 2, 20) == (i < 20));
  }
  CHECK(each.take(1001, 5999, 20));
  CHECK(each.take(1000, 6000, 20));  // another second
  for (uid_t user = 2000; user < 2063; ++user) {
    CHECK(each.take(user, 6001, 1));
  }
  CHECK(each.take(3000, 6001, 1));  // the 65th shares with all that come after it
  CHECK_FALSE(each.take(3001, 6001, 1));
  CHECK(each.take(2000, 6002, 2));  // those before have their own all the same
  CHECK(each.take(3001, 7000, 1));
}
