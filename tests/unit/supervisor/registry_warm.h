#pragma once
// A registry with ordinary limits, and the ordinary state of a user in it.

#include "tests/unit/supervisor/registry_world.h"

namespace cosigner::supervisor::test {

inline RegistryLimits ordinary() {
  RegistryLimits limits;
  limits.budget = {
      .max_restarts = 3, .window_ms = 10'000, .backoff_first_ms = 100, .backoff_cap_ms = 1000};
  return limits;
}

inline UserState state_of(World& world, const std::string& user) {
  const auto view = world.registry().user(world.now(), user);
  return view ? view->state : UserState::kAbsent;
}

/// A live, idle worker.
inline void warm(World& world, const std::string& user) {
  const std::uint64_t id = world.request(user);
  world.run(100);
  REQUIRE(world.answered(id));
  REQUIRE_FALSE(world.error_of(id));
  REQUIRE(state_of(world, user) == UserState::kReady);
}

}  // namespace cosigner::supervisor::test
