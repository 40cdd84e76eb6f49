// The registry without a world around it: deadlines to the millisecond, errors word by word.

#include "tests/support/seeded_random.h"
#include "tests/unit/supervisor/registry_warm.h"

namespace cosigner::supervisor::test {
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
