// The index of finished requests: what it knows, what it forgets, and that it then asks the store.

#include "worker/session/results.h"

#include <catch2/catch.hpp>

#include "crypto/base/random.h"
#include "tests/support/durations.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

using cosigner::test::kSecond;

struct World {
  SeededRandom random{5};
  Results results{std::nullopt};

  struct Made {
    Request request;
    SessionId session;
  };
  Made make(std::uint64_t issued_at_ms) {
    Made out;
    out.request.initiator = random.bytes<Ed25519PublicKey>();
    out.request.id = random.bytes<RequestId>();
    out.request.key = "k";
    out.request.issued_at_ms = issued_at_ms;
    out.session = random.bytes<SessionId>();
    return out;
  }
  Made finished(std::uint64_t issued_at_ms) {
    Made out = make(issued_at_ms);
    results.claim(out.request, out.session);
    results.remember(out.request, out.session, ByteVector(250), 1);
    return out;
  }
};

}  // namespace

TEST_CASE("results: a tick forgets what has been finished for 30 s, and nothing younger") {
  World world;
  const auto old = world.finished(1000);
  world.results.forget_old(0);
  const auto young = world.finished(2000);
  world.results.forget_old(29 * kSecond);
  CHECK(world.results.find(old.session) != nullptr);
  world.results.forget_old(30 * kSecond);
  CHECK(world.results.find(old.session) == nullptr);
  CHECK(world.results.owner(old.request) == nullptr);
  REQUIRE(world.results.find(young.session) !=
          nullptr);  // made after the tick at 0, so not yet 30 s
  world.results.forget_old(59 * kSecond);
  CHECK(world.results.find(young.session) == nullptr);
  CHECK(world.results.empty());
}

TEST_CASE("results: what was forgotten is asked of the store, what is newer is not") {
  World world;
  const auto old = world.finished(5000);
  CHECK_FALSE(world.results.needs_lookup(old.request));
  world.results.forget_old(0);
  world.results.forget_old(30 * kSecond);
  CHECK(world.results.needs_lookup(old.request));
  CHECK(world.results.needs_lookup(world.make(4999).request));
  CHECK_FALSE(world.results.needs_lookup(world.make(5001).request));
}

TEST_CASE("results: a claim without a result is kept for longer than any session lasts") {
  World world;
  const auto running = world.make(1000);
  world.results.claim(running.request, running.session);
  const auto behind_it = world.finished(1000);
  for (std::int64_t at = 0; at < Results::kKeepClaimsUs; at += 60 * kSecond) {
    world.results.forget_old(at);
    CHECK(world.results.owner(running.request) != nullptr);
    CHECK(world.results.find(behind_it.session) != nullptr);  // they go in the order they came
  }
  world.results.forget_old(Results::kKeepClaimsUs);
  CHECK(world.results.owner(running.request) == nullptr);
  CHECK(world.results.empty());
}

TEST_CASE("results: failures go as well, whether they were forgiven or not") {
  World world;
  const auto failed = world.make(1000);
  world.results.remember_failure(failed.session, {});
  const auto forgiven = world.make(1000);
  world.results.remember_failure(forgiven.session, {});
  world.results.forget_failure(forgiven.session);
  CHECK(world.results.failure(failed.session) != nullptr);
  world.results.forget_old(0);
  world.results.forget_old(30 * kSecond);
  CHECK(world.results.failure(failed.session) == nullptr);
  CHECK(world.results.empty());
}

TEST_CASE("results: ticks of any rhythm keep bounded marks and forget in time") {
  World world;
  std::vector<World::Made> made;
  for (int second = 0; second < 1000; ++second) {
    made.push_back(world.finished(static_cast<std::uint64_t>(second)));
    world.results.forget_old(second * kSecond);
    if (second >= 40) {
      CHECK(world.results.find(made[static_cast<std::size_t>(second - 31)].session) == nullptr);
      CHECK(world.results.find(made[static_cast<std::size_t>(second - 29)].session) != nullptr);
    }
  }
}

TEST_CASE("results: the bounds hold without any tick") {
  World world;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    world.finished(i);
  }
  CHECK(world.results.needs_lookup(world.make(3000 - Results::kMaxResults - 1).request));
  CHECK_FALSE(world.results.needs_lookup(world.make(3000).request));
}
