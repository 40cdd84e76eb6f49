// The order of work between users, and the rate at which processes are started.

#include "tests/unit/supervisor/registry_world.h"

namespace cosigner::supervisor::test {
namespace {

std::uint64_t generation_of(World& world, const std::string& user) {
  const auto view = world.registry().user(world.now(), user);
  return view ? view->generation : 0;
}

}  // namespace

TEST_CASE("fairness: who asks much waits in one place of the queue, like who asks little") {
  RegistryLimits limits;
  limits.starting_at_once = 1;
  World world(limits, 31, calm());
  std::vector<std::uint64_t> of_greedy;
  for (int i = 0; i < 100; ++i) {
    of_greedy.push_back(world.request("greedy"));
  }
  const auto ben = world.request("ben");
  for (int i = 0; i < 100; ++i) {
    of_greedy.push_back(world.request("greedy"));
  }
  const auto carol = world.request("carol");
  world.run(200);
  REQUIRE(world.answered(ben));
  REQUIRE(world.answered(carol));
  // In the order of their first request: a generation is taken at the fork.
  CHECK(generation_of(world, "greedy") < generation_of(world, "ben"));
  CHECK(generation_of(world, "ben") < generation_of(world, "carol"));
  CHECK(world.registry().counters().spawns == 3);
  for (const std::uint64_t id : of_greedy) {
    CHECK(world.answered(id));
    CHECK_FALSE(world.error_of(id));
  }
}

TEST_CASE("fairness: the mailbox of one user is full, others are served") {
  RegistryLimits limits;
  World world(limits, 33, calm());
  world.odds().hangs = 100;
  std::uint64_t refused = 0;
  for (int i = 0; i < 1000; ++i) {
    const auto id = world.request("greedy");
    if (world.answered(id)) {
      CHECK(world.error_of(id)->code == ErrorCode::kOverloaded);
      CHECK(world.error_of(id)->retry_after_ms > 0);
      ++refused;
    }
  }
  CHECK(refused == 1000 - limits.mailbox_entries);
  CHECK(refused_for(world.registry(), Limit::kMailboxEntries) == refused);
  world.run(50);  // delivered, and never answered
  world.odds().hangs = 0;
  const auto ben = world.request("ben");
  world.run(100);
  CHECK(world.answered(ben));
  CHECK_FALSE(world.error_of(ben));
}

TEST_CASE("spawn rate: so many a second after a burst, in the order of arrival, none lost") {
  RegistryLimits limits;
  limits.spawns_per_second = 100;
  World world(limits, 34, calm());
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 300; ++i) {
    ids.push_back(world.request("user" + std::to_string(i)));
  }
  // A quarter of a second's worth may come at once.
  CHECK(world.registry().counters().spawns <= 26);
  world.run(1000);
  const std::uint64_t after_one_second = world.registry().counters().spawns;
  CHECK(after_one_second >= 120);
  CHECK(after_one_second <= 130);
  for (int i = 1; i < 100; ++i) {
    CHECK(generation_of(world, "user" + std::to_string(i - 1)) <
          generation_of(world, "user" + std::to_string(i)));
  }
  world.run(3000);
  for (const std::uint64_t id : ids) {
    REQUIRE(world.answered(id));
    REQUIRE_FALSE(world.error_of(id));
  }
  CHECK(world.registry().counters().spawns == 300);
}

TEST_CASE("spawn rate: who cannot be started in time is told overloaded, with a delay") {
  RegistryLimits limits;
  limits.spawns_per_second = 1;
  limits.start_timeout_ms = 2000;
  World world(limits, 35, calm());
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 20; ++i) {
    ids.push_back(world.request("user" + std::to_string(i)));
  }
  world.run(10'000);
  std::size_t refused = 0;
  for (const std::uint64_t id : ids) {
    REQUIRE(world.answered(id));
    if (world.error_of(id)) {
      CHECK(world.error_of(id)->code == ErrorCode::kOverloaded);
      CHECK(world.error_of(id)->retry_after_ms > 0);
      CHECK_FALSE(world.error_of(id)->may_have_executed);
      ++refused;
    }
  }
  CHECK(refused >= 15);
  CHECK(refused == refused_for(world.registry(), Limit::kSpawnRate));
}

}  // namespace cosigner::supervisor::test
