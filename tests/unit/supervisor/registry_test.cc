// The registry's rules one by one.

#include "tests/support/seeded_random.h"
#include "tests/unit/supervisor/registry_warm.h"

namespace cosigner::supervisor::test {
TEST_CASE("registry: a request spawns lazily, waits, and is answered") {
  World world(ordinary(), 1, calm());
  REQUIRE(world.live() == 0);
  const auto first = world.request("alice");
  const auto second = world.request("alice");
  REQUIRE(state_of(world, "alice") == UserState::kStarting);
  world.run(200);
  REQUIRE(world.answered(first));
  REQUIRE(world.answered(second));
  REQUIRE(world.live() == 1);
  REQUIRE(world.registry().counters().spawns == 1);
}

TEST_CASE(
    "registry: limits change while it runs, and what is over a lowered one stays until it is "
    "done") {
  World world(ordinary(), 3, calm());
  for (const char* user : {"a", "b", "c"}) {
    warm(world, user);
  }
  RegistryLimits lower = ordinary();
  lower.max_workers = 1;
  lower.mailbox_entries = 1;
  lower.idle_timeout_ms = 5000;
  world.registry().set_limits(world.now(), lower);
  world.settle();
  CHECK(world.live() == 3);
  const auto first = world.request("a");
  const auto second = world.request("a");
  REQUIRE(world.answered(second));
  CHECK(world.error_of(second)->code == ErrorCode::kOverloaded);
  world.run(100);
  CHECK_FALSE(world.error_of(first));
  world.run(20'000);  // the shorter idle time holds for those that were there
  CHECK(world.live() == 0);

  world.registry().set_limits(world.now(), ordinary());
  world.settle();
  warm(world, "a");
  warm(world, "b");
  CHECK(world.live() == 2);
}

TEST_CASE("registry: a death answers everything at once and the first one costs no wait") {
  World world(ordinary(), 2, calm());
  warm(world, "alice");
  const auto id = world.request("alice");
  world.kill_from_outside("alice");
  world.run(5);
  REQUIRE(world.answered(id));
  REQUIRE(world.error_of(id)->code == ErrorCode::kWorkerCrashed);
  REQUIRE(world.error_of(id)->may_have_executed);
  const auto next = world.request("alice");
  world.run(100);
  REQUIRE(world.answered(next));
  REQUIRE_FALSE(world.error_of(next));
}

TEST_CASE("registry: requests not delivered have not executed") {
  World world(ordinary(), 3, calm());
  world.odds().dies_starting = 100;
  const auto id = world.request("alice");
  world.run(50);
  REQUIRE(world.answered(id));
  REQUIRE(world.error_of(id)->code == ErrorCode::kWorkerCrashed);
  REQUIRE_FALSE(world.error_of(id)->may_have_executed);
  REQUIRE(world.registry().user(world.now(), "alice")->start_failures == 1);
}

TEST_CASE("registry: crash loop: backoff, quarantine, clear, another user is not slowed") {
  World world(ordinary(), 4, calm());
  warm(world, "ben");
  world.odds().crashes = 100;
  for (int death = 1; death <= 3; ++death) {
    const auto id = world.request("alice");
    world.run(1500);
    REQUIRE(world.answered(id));
  }
  REQUIRE(state_of(world, "alice") == UserState::kQuarantined);
  const auto refused = world.request("alice");
  REQUIRE(world.error_of(refused)->code == ErrorCode::kQuarantined);
  REQUIRE_FALSE(world.error_of(refused)->may_have_executed);
  world.odds().crashes = 0;
  warm(world, "ben");
  REQUIRE(world.registry().user(world.now(), "ben")->starts == 1);

  SECTION("an operator clears it") {
    REQUIRE(world.registry().clear(world.now(), "alice"));
    warm(world, "alice");
  }
  SECTION("time forgives it") {
    world.run(ordinary().quarantine_ms + 1);
    REQUIRE(state_of(world, "alice") == UserState::kAbsent);
    warm(world, "alice");
  }
}

TEST_CASE("registry: requests wait through a backoff") {
  World world(ordinary(), 5, calm());
  warm(world, "alice");
  world.kill_from_outside("alice");
  world.run(10);
  warm(world, "alice");
  world.kill_from_outside("alice");
  world.run(10);
  REQUIRE(state_of(world, "alice") == UserState::kBackoff);
  const auto id = world.request("alice");
  REQUIRE_FALSE(world.answered(id));
  world.run(300);
  REQUIRE(world.answered(id));
  REQUIRE_FALSE(world.error_of(id));
}

TEST_CASE("registry: silence with work in flight is death, idleness is not") {
  World world(ordinary(), 6, calm());
  warm(world, "alice");
  world.run(60'000);
  REQUIRE(world.live() == 1);
  world.odds().hangs = 100;
  const auto id = world.request("alice");
  world.run(9'000);
  REQUIRE_FALSE(world.answered(id));
  world.run(2'000);
  REQUIRE(world.answered(id));
  REQUIRE(world.error_of(id)->code == ErrorCode::kWorkerUnresponsive);
  REQUIRE(world.error_of(id)->may_have_executed);
  REQUIRE(world.live() == 0);
}

TEST_CASE("registry: eviction at the idle timeout, and a request that races it is served") {
  World world(ordinary(), 7, calm());
  warm(world, "alice");
  SECTION("after the timeout") {
    world.run(ordinary().idle_timeout_ms + 1000);
    REQUIRE(world.live() == 0);
    REQUIRE(world.registry().counters().deaths == 0);
    REQUIRE_FALSE(world.registry().user(world.now(), "alice"));
  }
  SECTION("a request while it is asked") {
    REQUIRE(world.registry().evict(world.now(), "alice"));
    const auto id = world.request("alice");
    world.run(200);
    REQUIRE(world.answered(id));
    REQUIRE_FALSE(world.error_of(id));
    REQUIRE(world.registry().counters().spawns == 2);
  }
  SECTION("ordered while busy") {
    world.request("alice");
    REQUIRE(world.registry().evict(world.now(), "alice").error().code == ErrorCode::kConflict);
  }
  SECTION("ordered where nobody lives") {
    REQUIRE(world.registry().evict(world.now(), "ben").error().code == ErrorCode::kUnknownUser);
  }
}

TEST_CASE("registry: an operator's order starts a worker without a request") {
  World world(ordinary(), 31, calm());
  REQUIRE(world.registry().start(world.now(), "alice"));
  world.settle();
  world.run(100);
  REQUIRE(state_of(world, "alice") == UserState::kReady);
  REQUIRE(world.registry().start(world.now(), "alice"));  // one is enough
  world.settle();
  REQUIRE(world.registry().counters().spawns == 1);
  world.registry().quarantine(world.now(), "ben");
  REQUIRE(world.registry().start(world.now(), "ben").error().code == ErrorCode::kQuarantined);
  world.registry().drain(world.now(), 100);
  REQUIRE(world.registry().start(world.now(), "carol").error().code == ErrorCode::kShuttingDown);
}

TEST_CASE("registry: at the cap the least recently used idle worker goes, never a busy one") {
  auto limits = ordinary();
  limits.max_workers = 2;
  World world(limits, 8, calm());
  warm(world, "alice");
  warm(world, "ben");
  warm(world, "alice");  // ben is the older one now
  warm(world, "carol");
  REQUIRE(state_of(world, "ben") == UserState::kAbsent);
  REQUIRE(state_of(world, "alice") == UserState::kReady);
  SECTION("with all busy: overloaded, with a delay") {
    world.odds().hangs = 100;
    world.request("alice");
    world.request("carol");
    const auto id = world.request("dave");
    REQUIRE(world.error_of(id)->code == ErrorCode::kOverloaded);
    REQUIRE(world.error_of(id)->retryable);
    REQUIRE(world.error_of(id)->retry_after_ms > 0);
    REQUIRE_FALSE(world.error_of(id)->may_have_executed);
    CHECK(refused_for(world.registry(), Limit::kWorkers) == 1);
  }
}

TEST_CASE("registry: mailboxes are bounded in entries and bytes, for a user and in all") {
  auto limits = ordinary();
  limits.mailbox_entries = 3;
  limits.mailbox_bytes = 1000;
  limits.total_mailbox_bytes = 1500;
  limits.entry_bytes = 100;
  World world(limits, 9, calm());
  SECTION("entries") {
    for (int i = 0; i < 3; ++i) {
      REQUIRE_FALSE(world.answered(world.request("alice")));
    }
    REQUIRE(world.error_of(world.request("alice"))->code == ErrorCode::kOverloaded);
    CHECK(refused_for(world.registry(), Limit::kMailboxEntries) == 1);
  }
  SECTION("bytes of one user") {
    REQUIRE_FALSE(world.answered(world.request("alice", true, 800)));
    REQUIRE(world.error_of(world.request("alice", true, 1))->code == ErrorCode::kOverloaded);
    CHECK(refused_for(world.registry(), Limit::kMailboxBytes) == 1);
  }
  SECTION("bytes of all") {
    REQUIRE_FALSE(world.answered(world.request("alice", true, 800)));
    REQUIRE(world.error_of(world.request("ben", true, 501))->code == ErrorCode::kOverloaded);
    CHECK(refused_for(world.registry(), Limit::kTotalMailboxBytes) == 1);
    REQUIRE_FALSE(world.answered(world.request("ben", true, 500)));
  }
  SECTION("empty envelopes of ever new users") {
    std::size_t taken = 0;
    for (int i = 0; i < 100; ++i) {
      const auto id = world.request("user" + std::to_string(i), true, 0);
      taken += world.answered(id) ? 0U : 1U;
    }
    REQUIRE(taken == 15);  // of 1500 bytes
  }
  world.run(1000);
  REQUIRE(world.unanswered() == 0);
}

TEST_CASE("registry: forks that fail for no fault of the user are tried again, then overloaded") {
  World world(ordinary(), 10, calm());
  world.odds().fork_fails = 100;
  const auto id = world.request("alice");
  world.run(5'000);
  REQUIRE_FALSE(world.answered(id));
  SECTION("the zygote comes back") {
    world.odds().fork_fails = 0;
    world.run(500);
    REQUIRE(world.answered(id));
    REQUIRE_FALSE(world.error_of(id));
  }
  SECTION("it does not") {
    world.run(6'000);
    REQUIRE(world.error_of(id)->code == ErrorCode::kOverloaded);
    CHECK(refused_for(world.registry(), Limit::kSpawnRate) == 1);
  }
  REQUIRE(world.registry().counters().deaths == 0);
}

TEST_CASE("registry: work that a peer woke waits for nobody's answer and is dropped at a death") {
  World world(ordinary(), 12, calm());
  warm(world, "alice");
  world.request("alice", false);
  world.kill_from_outside("alice");
  world.run(100);
  REQUIRE(world.unanswered() == 0);
  REQUIRE(world.registry().counters().failed == 0);
}

TEST_CASE("registry: an operator's quarantine holds until it is cleared") {
  World world(ordinary(), 13, calm());
  world.registry().quarantine(world.now(), "alice");
  world.run(10'000'000);
  REQUIRE(world.error_of(world.request("alice"))->code == ErrorCode::kQuarantined);
  REQUIRE(world.registry().clear(world.now(), "alice"));
  warm(world, "alice");
  const auto id = world.request("alice");
  world.registry().quarantine(world.now(), "alice");
  world.run(100);
  REQUIRE(world.error_of(id)->code == ErrorCode::kQuarantined);
  REQUIRE(world.live() == 0);
}

TEST_CASE("registry: a death's crash record names the request that did it") {
  SeededRandom random(11);
  Registry registry(ordinary(), random);
  const auto drop = [&] { static_cast<void>(registry.take_actions()); };
  registry.generations_reserved(0, 1, 100);
  for (const char* key : {"first", "second", "third"}) {
    RequestInfo info;
    info.operation = "sign";
    info.key = key;
    registry.request(0, "alice", std::move(info), ByteVector(10));
  }
  registry.ready(1, 1);
  drop();
  ExitCause cause{.kind = ExitKind::kSignal, .value = 11, .crash = "where it was", .request = 2};
  registry.exited(2, 1, cause);
  std::size_t failed = 0;
  for (Action& wanted : registry.take_actions()) {
    if (const auto* fail = std::get_if<action::Fail>(&wanted)) {
      ++failed;
      REQUIRE(fail->error.code == ErrorCode::kWorkerCrashed);
      REQUIRE(fail->error.message.find("where it was") == std::string::npos);  // not for callers
    }
  }
  REQUIRE(failed == 3);
  const auto view = registry.user(2, "alice");
  REQUIRE(view);
  REQUIRE(view->last_request.starts_with("sign second "));
  REQUIRE(view->last_crash == "where it was");
  REQUIRE(view->last_death == "ended by signal 11 (SIGSEGV)");
  REQUIRE(registry.clear(3, "alice"));
  REQUIRE_FALSE(registry.user(3, "alice"));
}

TEST_CASE("registry: what the node cannot read is not the user's fault") {
  World world(ordinary(), 4, calm());
  const Error unreadable{
      .code = ErrorCode::kStorageFailed, .message = "unreadable", .retryable = true};
  warm(world, "bob");  // generations are there: a request forks at once
  for (int round = 0; round < 10; ++round) {
    const auto id = world.request("alice");
    const auto view = world.registry().user(world.now(), "alice");
    REQUIRE(view);
    REQUIRE(view->generation != 0);
    world.registry().load_failed(world.now(), view->generation, unreadable);
    world.settle();
    REQUIRE(world.answered(id));
    REQUIRE(world.error_of(id)->code == ErrorCode::kStorageFailed);
    REQUIRE(world.error_of(id)->retryable);
    world.run(300);
    REQUIRE(state_of(world, "alice") == UserState::kBackoff);  // not each request asks the disk
    world.run(1500);
    REQUIRE(world.live() == 1);
  }
  REQUIRE(world.registry().counters().deaths == 0);
  REQUIRE(world.registry().counters().quarantines == 0);
  warm(world, "alice");
}

}  // namespace cosigner::supervisor::test
