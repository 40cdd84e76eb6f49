// The index of finished requests: what it knows, what it forgets, and that it then asks the store.

#include "worker/session/results.h"

#include <catch2/catch.hpp>
#include <memory_resource>

#include "tests/support/durations.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

using cosigner::test::kSecond;

/// What is held of the memory that results may use.
class CountedMemory final : public std::pmr::memory_resource {
 public:
  std::size_t held = 0;

 private:
  void* do_allocate(std::size_t bytes, std::size_t alignment) override {
    held += bytes;
    return std::pmr::new_delete_resource()->allocate(bytes, alignment);
  }
  void do_deallocate(void* pointer, std::size_t bytes, std::size_t alignment) override {
    held -= bytes;
    std::pmr::new_delete_resource()->deallocate(pointer, bytes, alignment);
  }
  [[nodiscard]] bool do_is_equal(const std::pmr::memory_resource& other) const noexcept override {
    return this == &other;
  }
};

struct World {
  static constexpr std::uint64_t kExpiresMs = 60'000;
  SeededRandom random{5};
  CountedMemory memory;
  Results results{std::nullopt, memory};

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
    out.request.expires_at_ms = kExpiresMs;
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

TEST_CASE("results: an id that was forgotten is asked of the store, whenever it comes again") {
  World world;
  auto old = world.finished(5000);
  const auto failed = world.make(5000);
  world.results.claim(failed.request, failed.session);
  CHECK_FALSE(world.results.needs_lookup(old.request));
  world.results.forget_old(0);
  world.results.forget_old(Results::kKeepClaimsUs);
  CHECK(world.results.empty());
  CHECK(world.results.needs_lookup(old.request));
  CHECK_FALSE(world.results.needs_lookup(failed.request));  // the store has no failures
  CHECK_FALSE(world.results.needs_lookup(world.make(5000).request));
  old.request.issued_at_ms = 50'000'000;  // other bytes under the same id
  CHECK(world.results.needs_lookup(old.request));
  // As long as the store knows it, and no longer.
  const std::uint64_t kept_until = World::kExpiresMs + Results::kKeepResultMs;
  world.results.forget_expired(kept_until);
  CHECK(world.results.needs_lookup(old.request));
  world.results.forget_expired(kept_until + 1);
  CHECK_FALSE(world.results.needs_lookup(old.request));
}

TEST_CASE("results: what an earlier worker may have served is asked of the store") {
  World world;
  const Results later(100'000);
  CHECK(later.needs_lookup(world.make(100'000 + kMaxClockSkewMs).request));
  CHECK_FALSE(later.needs_lookup(world.make(100'001 + kMaxClockSkewMs).request));
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

TEST_CASE("results: all they hold is memory of their own, which goes back whole") {
  World world;
  for (int round = 0; round < 3; ++round) {
    for (std::uint64_t i = 0; i < 3000; ++i) {
      world.finished(i);
    }
    // Claim, session, order and answer of each; none of it in the heap that sessions use.
    CHECK(world.memory.held > Results::kMaxResults * 450);
    CHECK(world.memory.held < Results::kMaxResults * 1200);
    world.results.forget_old(round * 60 * kSecond);
    CHECK(world.memory.held > 0);
    world.results.forget_old((round * 60 + 30) * kSecond);
    CHECK(world.results.empty());
    CHECK(world.memory.held ==
          ForgottenIds::kFirstBytes + 4 * ForgottenIds::kFirstBytes);  // ids of 3,000
    world.results.forget_expired(World::kExpiresMs + Results::kKeepResultMs + 1);
    CHECK(world.memory.held == 0);
  }
}

TEST_CASE("results: an answer too large for the pool goes back with its result") {
  World world;
  const auto before = world.finished(1);
  const std::size_t held = world.memory.held;
  const auto large = world.make(2);
  const ByteVector answer(Results::kMaxResultBytes - 1000, 7);
  world.results.remember(large.request, large.session, answer, 3);
  REQUIRE(world.results.find(large.session) != nullptr);
  CHECK(to_vector(world.results.find(large.session)->answer) == answer);
  CHECK(world.memory.held > held + answer.size());
  for (std::uint64_t i = 0; i < 8; ++i) {
    world.finished(3 + i);  // 1 MiB in all: the large one goes, and what is older
  }
  CHECK(world.results.find(before.session) == nullptr);
  CHECK(world.results.find(large.session) == nullptr);
  CHECK(world.memory.held < held + answer.size() / 2);
}

TEST_CASE("results: the bounds hold without any tick") {
  World world;
  std::vector<World::Made> made;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    made.push_back(world.finished(i));
  }
  CHECK(world.results.owner(made[3000 - Results::kMaxResults - 1].request) == nullptr);
  CHECK(world.results.needs_lookup(made[3000 - Results::kMaxResults - 1].request));
  CHECK(world.results.owner(made[3000 - Results::kMaxResults].request) != nullptr);
  CHECK_FALSE(world.results.needs_lookup(made[3000 - Results::kMaxResults].request));
}
