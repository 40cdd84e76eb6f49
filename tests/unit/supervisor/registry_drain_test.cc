// The registry while its node stops: what still gets an answer, and what a refusal.

#include "tests/unit/supervisor/registry_warm.h"

namespace cosigner::supervisor::test {

TEST_CASE("registry: draining lets work end, kills at the deadline, refuses what comes") {
  World world(ordinary(), 11, calm());
  warm(world, "alice");
  warm(world, "ben");
  const auto running = world.request("alice");
  world.odds().hangs = 100;
  const auto hung = world.request("ben");
  world.run(4);
  world.odds().hangs = 0;
  const auto starting = world.request("carol");
  world.registry().drain(world.now(), 500);
  world.settle();
  REQUIRE(world.error_of(world.request("alice"))->code == ErrorCode::kShuttingDown);
  REQUIRE(world.error_of(starting)->code == ErrorCode::kShuttingDown);
  REQUIRE_FALSE(world.error_of(starting)->may_have_executed);
  world.run(1000);
  REQUIRE(world.live() == 0);
  REQUIRE(world.answered(running));
  REQUIRE(world.error_of(hung)->code == ErrorCode::kShuttingDown);
  REQUIRE(world.error_of(hung)->may_have_executed);
}

TEST_CASE("registry: a repeat of what a draining worker finishes gets its answer, no refusal") {
  World world(ordinary(), 14, calm());
  warm(world, "alice");
  const auto running = world.request("alice");
  world.registry().drain(world.now(), 500);
  world.settle();
  const auto again = world.repeat("alice", running);
  REQUIRE_FALSE(world.answered(again));
  const auto other = world.request("alice");
  REQUIRE(world.error_of(other)->code == ErrorCode::kShuttingDown);
  world.run(400);
  REQUIRE(world.live() == 0);
  REQUIRE(world.answered(running));
  REQUIRE_FALSE(world.error_of(running));
  REQUIRE(world.answered(again));
  REQUIRE(world.registry().counters().deaths == 0);
  // What came too late for the worker, or after it, is refused as anything else is.
  REQUIRE(world.error_of(world.repeat("alice", running))->code == ErrorCode::kShuttingDown);
}

TEST_CASE("registry: a repeat that crosses with its worker's going is told of the shutdown") {
  const auto begin = [](World& world) {
    warm(world, "alice");
    const auto running = world.request("alice");
    world.registry().drain(world.now(), 500);
    world.settle();
    return running;
  };
  std::size_t crossed = 0;
  for (std::uint64_t seed = 1000; seed < 1200; ++seed) {
    // The same world twice: to see when the answer comes, and to ask again while it is on its way.
    std::int64_t took = 0;
    World dry(ordinary(), seed, calm());
    for (const auto running = begin(dry); !dry.answered(running); ++took) {
      dry.run(1);
    }
    World world(ordinary(), seed, calm());
    const auto running = begin(world);
    world.run(took - 1);
    REQUIRE_FALSE(world.answered(running));
    const auto again = world.repeat("alice", running);
    world.run(1000);
    REQUIRE(world.answered(again));
    if (const auto& error = world.error_of(again)) {
      REQUIRE(error->code == ErrorCode::kShuttingDown);
      REQUIRE(error->retryable);
      ++crossed;
    }
    REQUIRE_FALSE(world.error_of(running));
    REQUIRE(world.registry().counters().deaths == 0);
    REQUIRE(world.live() == 0);
  }
  REQUIRE(crossed > 0);  // else this shows nothing
}

}  // namespace cosigner::supervisor::test
