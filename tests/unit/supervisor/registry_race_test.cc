// Requests, crashes, hangs, evictions, operators and shutdown raced against one another.

#include "tests/support/full.h"
#include "tests/unit/supervisor/registry_world.h"

namespace cosigner::supervisor::test {
namespace {

RegistryLimits tight() {
  RegistryLimits limits;
  limits.max_workers = 4;
  limits.mailbox_entries = 6;
  limits.mailbox_bytes = 1000;
  limits.total_mailbox_bytes = 3000;
  limits.entry_bytes = 20;
  limits.waiting_users = 5;
  limits.starting_at_once = 2;
  limits.spawns_per_second = 200;
  limits.idle_timeout_ms = 60;
  limits.start_timeout_ms = 150;
  limits.unresponsive_ms = 120;
  limits.quarantine_ms = 400;
  limits.budget = {
      .max_restarts = 4, .window_ms = 500, .backoff_first_ms = 10, .backoff_cap_ms = 100};
  return limits;
}

void race(std::uint64_t seed, World::Failed& failed) {
  World world(tight(), seed);
  const auto user = [&] { return "user" + std::to_string(world.dice(7)); };
  const std::uint64_t steps = 40 + world.dice(80);
  for (std::uint64_t step = 0; step < steps; ++step) {
    switch (world.dice(17)) {
      case 0:
        static_cast<void>(world.registry().evict(world.now(), user()));
        break;
      case 1:
        static_cast<void>(world.registry().restart(world.now(), user()));
        break;
      case 2:
        if (world.dice(4) == 0) {
          world.registry().quarantine(world.now(), user());
        }
        break;
      case 3:
        static_cast<void>(world.registry().clear(world.now(), user()));
        break;
      case 4:
        world.kill_from_outside(user());
        break;
      case 5:
        static_cast<void>(world.registry().start(world.now(), user()));
        break;
      case 6:
        world.run(static_cast<std::int64_t>(world.dice(300)));
        break;
      default:
        world.request(user(), world.dice(5) != 0, 50 + world.dice(400));
    }
    world.settle();
    world.run(static_cast<std::int64_t>(world.dice(20)));
  }
  if (world.dice(3) == 0) {
    world.registry().drain(world.now(), 100);
    world.settle();
    if (world.dice(3) == 0) {  // told again: at once
      world.run(static_cast<std::int64_t>(world.dice(60)));
      world.registry().drain(world.now(), 0);
      world.settle();
      world.run(1);
      REQUIRE(world.registry().in_state(UserState::kBusy) == 0);
    }
    world.run(1000);
    REQUIRE(world.live() == 0);
    REQUIRE(world.registry().live() == 0);
  } else {
    world.run(5000);  // idle workers are evicted, quarantine is forgiven
    REQUIRE(world.live() == 0);
  }
  REQUIRE(world.unanswered() == 0);
  failed.delivered += world.failed().delivered;
  failed.undelivered += world.failed().undelivered;
}

// 10,000 races in all, in four cases that ctest runs beside one another: 0.7 ms a race on an idle
// core, 2.4 ms on a busy machine.
void race_quarter(int quarter) {
  const int rounds = cosigner::test::rounds(2500, 12500);
  World::Failed failed;
  for (int round = 1; round <= rounds; ++round) {
    const int seed = quarter * rounds + round;
    INFO("seed " << seed);
    race(static_cast<std::uint64_t>(seed), failed);
  }
  // Requests have failed both ways, each with what may_have_executed had to say.
  CHECK(failed.delivered > static_cast<std::size_t>(rounds / 10));
  CHECK(failed.undelivered > static_cast<std::size_t>(rounds / 10));
}

}  // namespace

TEST_CASE("registry: randomised races keep every promise, the first quarter") {
  race_quarter(0);
}
TEST_CASE("registry: randomised races keep every promise, the second quarter") {
  race_quarter(1);
}
TEST_CASE("registry: randomised races keep every promise, the third quarter") {
  race_quarter(2);
}
TEST_CASE("registry: randomised races keep every promise, the last quarter") {
  race_quarter(3);
}

}  // namespace cosigner::supervisor::test
