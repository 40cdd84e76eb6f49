// The filter of ids that the index of results has dropped: never a wrong "no", few wrong "yes", in
// bounded memory and for a bounded time.

#include "worker/session/forgotten_ids.h"

#include <catch2/catch.hpp>

#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

struct ForgottenWorld {
  SeededRandom random{6};
  Ed25519PublicKey initiator = random.bytes<Ed25519PublicKey>();
  std::pmr::monotonic_buffer_resource memory;
  ForgottenIds ids{memory};

  /// Not random: what a client that counts would use.
  static RequestId counted(std::uint64_t number) {
    RequestId out{};
    for (std::size_t i = 0; i < 8; ++i) {
      out.data[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    }
    return out;
  }
  /// Of 10,000 ids that were never added, those it may hold.
  int wrong() {
    int count = 0;
    for (std::uint64_t i = 0; i < 5000; ++i) {
      count += ids.may_hold(initiator, random.bytes<RequestId>()) ? 1 : 0;
      count += ids.may_hold(initiator, counted((1ULL << 40) + i)) ? 1 : 0;
    }
    return count;
  }
};

}  // namespace

TEST_CASE("forgotten ids: all that were added, and few others") {
  ForgottenWorld world;
  CHECK(world.wrong() == 0);
  constexpr std::uint64_t kCount = 50'000;  // into the fourth filter
  std::vector<RequestId> random;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    world.ids.add(world.initiator, ForgottenWorld::counted(i), 1000);
    random.push_back(world.random.bytes<RequestId>());
    world.ids.add(world.initiator, random.back(), 1000);
  }
  std::uint64_t missed = 0;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    missed += world.ids.may_hold(world.initiator, ForgottenWorld::counted(i)) ? 0U : 1U;
    missed += world.ids.may_hold(world.initiator, random[i]) ? 0U : 1U;
  }
  CHECK(missed == 0);
  CHECK(world.wrong() < 400);  // three full filters of 0.6 % each are 190
  // Another initiator's ids are its own.
  const Ed25519PublicKey other = world.random.bytes<Ed25519PublicKey>();
  int others = 0;
  for (std::uint64_t i = 0; i < 10'000; ++i) {
    others += world.ids.may_hold(other, ForgottenWorld::counted(i)) ? 1 : 0;
  }
  CHECK(others < 400);
}

TEST_CASE("forgotten ids: a filter lives as long as the last of what is in it") {
  ForgottenWorld world;
  const RequestId first = world.random.bytes<RequestId>();
  world.ids.add(world.initiator, first, 5000);
  const RequestId scheduled = world.random.bytes<RequestId>();
  world.ids.add(world.initiator, scheduled, 9000);
  world.ids.add(world.initiator, world.random.bytes<RequestId>(), 1000);
  world.ids.forget_expired(9000);
  CHECK(world.ids.may_hold(world.initiator, first));
  CHECK(world.ids.may_hold(world.initiator, scheduled));
  world.ids.forget_expired(9001);
  CHECK_FALSE(world.ids.may_hold(world.initiator, first));
  CHECK_FALSE(world.ids.may_hold(world.initiator, scheduled));
}

TEST_CASE("forgotten ids: beyond the bound they are asked for in vain, and none is missed") {
  SeededRandom random(7);
  const auto initiator = random.bytes<Ed25519PublicKey>();
  // Nothing but the seven filters fits.
  std::vector<std::uint8_t> room(1108U << 10);
  std::pmr::monotonic_buffer_resource memory(room.data(), room.size(),
                                             std::pmr::null_memory_resource());
  ForgottenIds ids(memory);
  constexpr std::uint64_t kCount = 1'500'000;  // twice what they are made for
  for (std::uint64_t i = 0; i < kCount; ++i) {
    ids.add(initiator, ForgottenWorld::counted(i), 1000);
  }
  std::uint64_t missed = 0;
  for (std::uint64_t i = 0; i < kCount; i += 97) {
    missed += ids.may_hold(initiator, ForgottenWorld::counted(i)) ? 0U : 1U;
  }
  CHECK(missed == 0);
}
