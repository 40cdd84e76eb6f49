#include "supervisor/service/settled_states.h"

#include <catch2/catch.hpp>
#include <vector>

namespace cosigner::supervisor::test {

TEST_CASE("settled states: a burst at once, then one a second, and the last one wins") {
  SettledStates<bool> states(1000, 4);
  std::vector<bool> told;
  const auto settle = [&](std::int64_t now) {
    states.settle(now, [&](const std::string& name, bool state) {
      CHECK(name == "a");
      told.push_back(state);
    });
  };
  for (int k = 0; k < 1000; ++k) {
    states.want("a", k % 2 == 0);
    settle(5000);
  }
  CHECK(told == std::vector<bool>{true, false, true, false});
  CHECK_FALSE(states.next());  // the last one wanted is the last one told
  states.want("a", true);
  settle(5500);
  CHECK(told.size() == 4);
  REQUIRE(states.next());
  CHECK(*states.next() == 6000);
  states.want("a", false);  // taken back
  CHECK_FALSE(states.next());
  settle(6000);
  CHECK(told.size() == 4);
  for (std::int64_t now = 6000; now < 16'000; now += 10) {
    states.want("a", (now / 10) % 2 == 0);
    settle(now);
  }
  CHECK(told.size() <= 14);
  CHECK(told.size() >= 13);
}

TEST_CASE("settled states: one name's noise is not another's delay") {
  SettledStates<int> states(1000, 1);
  std::vector<std::string> told;
  const auto settle = [&](std::int64_t now) {
    states.settle(now, [&](const std::string& name, int state) {
      told.push_back(name + std::to_string(state));
    });
  };
  states.want("a", 1);
  settle(0);
  states.want("a", 2);
  states.want("b", 1);
  settle(1);
  CHECK(told == std::vector<std::string>{"a1", "b1"});
  settle(1000);
  CHECK(told == std::vector<std::string>{"a1", "b1", "a2"});
}

}  // namespace cosigner::supervisor::test
