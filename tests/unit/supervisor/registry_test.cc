// The registry's rules one by one.

#include "tests/unit/supervisor/registry_world.h"

namespace cosigner::supervisor::test {
namespace {

RegistryLimits ordinary() {
  RegistryLimits limits;
  limits.budget = {
      .max_restarts = 3, .window_ms = 10'000, .backoff_first_ms = 100, .backoff_cap_ms = 1000};
  return limits;
}

UserState state_of(World& world, const std::string& user) {
  const auto view = world.registry().user(world.now(), user);
  return view ? view->state : UserState::kAbsent;
}

/// A live, idle worker.
void warm(World& world, const std::string& user) {
  const std::uint64_t id = world.request(user);
  world.run(100);
  REQUIRE(world.answered(id));
  REQUIRE_FALSE(world.error_of(id));
  REQUIRE(state_of(world, user) == UserState::kReady);
}

}  // namespace

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
  const Error unreadable{.code = ErrorCode::kStorageFailed,
                         .message = "unreadable",
                         .retryable = true,
                         .peer = {},
                         .peer_reason = {}};
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

namespace {

/// The registry alone, where a worker does nothing that the test does not do.
struct Bare {
  SeededRandom random{11};
  Registry registry;
  std::vector<Error> errors;  ///< told to callers
  std::size_t kills = 0;

  explicit Bare(RegistryLimits limits = ordinary()) : registry(limits, random) {
    registry.generations_reserved(0, 1, 100);
    settle();
  }
  void request(std::int64_t now, const std::string& user = "alice") {
    RequestInfo info;
    info.operation = "sign";
    registry.request(now, user, std::move(info), ByteVector(10));
    settle();
  }
  void settle() {
    for (Action& wanted : registry.take_actions()) {
      if (const auto* fail = std::get_if<action::Fail>(&wanted)) {
        errors.push_back(fail->error);
      }
      kills += std::holds_alternative<action::Kill>(wanted) ? 1U : 0U;
    }
    REQUIRE(registry.check_invariants().value_or("") == "");
  }
  void timer(std::int64_t now) {
    registry.on_timer(now);
    settle();
  }
};

}  // namespace

TEST_CASE("registry: requests behind a process that never ends are answered in time") {
  Bare bare;
  bare.request(0);
  SECTION("its fork hangs") {
    bare.timer(10'000);  // not ready in time: killed, and nobody reports its end
    REQUIRE(bare.kills == 1);
    REQUIRE(bare.errors.size() == 1);
    bare.errors.clear();
  }
  SECTION("an operator restarts it") {
    bare.registry.ready(1, 1);
    REQUIRE(bare.registry.answer(2, 1, 1));
    REQUIRE(bare.registry.restart(10'000, "alice"));
    bare.settle();
    REQUIRE(bare.kills == 1);
  }
  bare.request(11'000);
  bare.request(15'000);
  REQUIRE(bare.registry.next_deadline() <= 21'000);
  bare.timer(20'999);
  REQUIRE(bare.errors.empty());
  bare.timer(21'000);
  REQUIRE(bare.errors.size() == 1);
  REQUIRE(bare.errors[0].code == ErrorCode::kOverloaded);
  REQUIRE(bare.errors[0].retryable);
  REQUIRE_FALSE(bare.errors[0].may_have_executed);
  CHECK(refused_for(bare.registry, Limit::kEnding) == 1);
  bare.registry.exited(22'000, 1, {});  // it does end: the other is served
  bare.settle();
  bare.registry.ready(22'001, 2);
  REQUIRE(bare.registry.answer(22'002, 2, 3));
  REQUIRE(bare.errors.size() == 1);
}

TEST_CASE("registry: silence while the supervisor itself did not run kills nobody") {
  Bare bare;
  SECTION("at work") {
    bare.request(0);
    bare.registry.ready(1, 1);
    bare.registry.alive(400, 1);
  }
  SECTION("starting") {
    bare.request(0);
  }
  SECTION("asked to go") {
    bare.request(0);
    bare.registry.ready(1, 1);
    REQUIRE(bare.registry.answer(2, 1, 1));
    REQUIRE(bare.registry.evict(3, "alice"));
  }
  bare.settle();
  bare.registry.paused(11'500, 11'000);  // what it said meanwhile is not read yet
  bare.timer(11'500);
  REQUIRE(bare.kills == 0);
  REQUIRE(bare.errors.empty());
  bare.timer(20'000);
  REQUIRE(bare.kills == 0);
  bare.timer(21'500);  // silent for ten seconds of ours
  REQUIRE(bare.kills == 1);
}

TEST_CASE("registry: users that wait for a process are bounded") {
  auto limits = ordinary();
  limits.waiting_users = 3;
  Bare bare(limits);
  for (int i = 0; i < 4; ++i) {
    bare.request(0, "user" + std::to_string(i));
  }
  REQUIRE(bare.errors.size() == 1);
  REQUIRE(bare.errors[0].code == ErrorCode::kOverloaded);
  CHECK(refused_for(bare.registry, Limit::kWaitingUsers) == 1);
  bare.request(0, "user0");  // one that waits already may wait for more
  REQUIRE(bare.errors.size() == 1);
}

TEST_CASE("registry: a quarantine is told in the same way whenever it is met") {
  // To those that waited when it began, and to those that come later.
  auto limits = ordinary();
  limits.quarantine_ms = 5000;
  Bare bare(limits);
  SECTION("an operator's: asking again is no use until he clears it") {
    bare.request(0);
    bare.registry.quarantine(1, "alice");  // while it starts
    bare.settle();
    bare.registry.exited(2, 1, {});
    bare.request(3);
    bare.registry.quarantine(4, "ben");  // who has no process
    bare.request(5, "ben");
    REQUIRE(bare.errors.size() == 3);
    for (const Error& error : bare.errors) {
      REQUIRE(error == bare.errors[0]);
      REQUIRE(error.code == ErrorCode::kQuarantined);
      REQUIRE_FALSE(error.retryable);
      REQUIRE(error.retry_after_ms == 0);
    }
  }
  SECTION("by deaths: time forgives, and how long that takes is said") {
    for (std::uint64_t round = 1; round <= 3; ++round) {
      const auto now = static_cast<std::int64_t>(2000 * round);
      bare.timer(now);
      bare.request(now);
      bare.registry.ready(now, round);
      REQUIRE(bare.registry.answer(now, round, round));
      REQUIRE(bare.registry.evict(now, "alice"));
      bare.registry.evict_reply(now, round, round, true);
      if (round == 3) {
        bare.request(now);  // waits for the next worker, and there is to be none
      }
      bare.registry.exited(now + 1, round, {ExitKind::kSignal, 11, {}, 0});
      bare.settle();
    }
    bare.request(7001);
    REQUIRE(bare.errors.size() == 2);
    REQUIRE(bare.errors[0].retry_after_ms == 5000);
    REQUIRE(bare.errors[1].retry_after_ms == 4000);
    for (const Error& error : bare.errors) {
      REQUIRE(error.code == ErrorCode::kQuarantined);
      REQUIRE(error.message == bare.errors[0].message);
      REQUIRE(error.retryable);
    }
  }
}

TEST_CASE("registry: a start that fails before the worker's hello costs its user nothing") {
  Bare bare;
  bare.request(0);
  const bool greeted = GENERATE(false, true);
  if (greeted) {
    bare.registry.greeted(1);
  }
  bare.timer(10'000);
  bare.registry.exited(10'001, 1, {ExitKind::kSignal, 9, {}, 0});
  bare.settle();
  REQUIRE(bare.errors.size() == 1);
  REQUIRE(bare.errors[0].code == ErrorCode::kWorkerUnresponsive);
  REQUIRE(bare.registry.counters().deaths == (greeted ? 1U : 0U));
}

}  // namespace cosigner::supervisor::test
