// A writing process is killed at any point: what it had announced is there, the rest is whole.

#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <thread>

#include "supervisor/service/clock.h"
#include "supervisor/store/store_thread.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/supervisor/store_fixture.h"

namespace cosigner::supervisor::test {
namespace {

/// Runs in the child: makes durable, then announces on `pipe`: generations and epochs in turn.
[[noreturn]] void write_for_ever(const StoreFixture& fixture, int pipe) {
  auto store = fixture.open();
  if (!store) {
    ::_exit(2);
  }
  const auto keys = store->keys_of("alice");
  std::uint64_t epoch = keys && !keys->empty() ? keys->back().epoch : 0;
  if (keys && !keys->empty() && keys->back().state == ipc::KeyState::kPending) {
    --epoch;
  }
  for (;;) {
    ++epoch;
    const KeyRecord record = StoreFixture::record(epoch);
    if (!store->begin() || !store->store_pending("alice", StoreFixture::stored(record)) ||
        !store->reserve_generations(10) || !store->commit() || !store->begin() ||
        !store->activate("alice", fixture.activation(record)) || !store->commit()) {
      ::_exit(3);
    }
    if (::write(pipe, &epoch, sizeof epoch) != sizeof epoch) {
      ::_exit(4);
    }
  }
}

}  // namespace

TEST_CASE("store: kill -9 of a writing process loses nothing it announced") {
  const StoreFixture fixture;
  SeededRandom random(3);
  std::uint64_t announced = 0;
  std::uint64_t generations = 0;
  const int rounds = cosigner::test::rounds(8, 200);
  for (int round = 0; round < rounds; ++round) {
    int pipe[2];
    REQUIRE(::pipe(pipe) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      ::close(pipe[0]);
      write_for_ever(fixture, pipe[1]);
    }
    ::close(pipe[1]);
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + random.next_u64() % 60));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    std::uint64_t epoch = 0;
    while (::read(pipe[0], &epoch, sizeof epoch) == sizeof epoch) {
      announced = std::max(announced, epoch);
    }
    ::close(pipe[0]);

    auto store = fixture.open();
    REQUIRE(store);
    const auto keys = store->keys_of("alice");
    REQUIRE(keys);
    if (announced > 0) {
      REQUIRE_FALSE(keys->empty());
      // Exactly one active epoch, at least the announced one; a pending one may follow it.
      REQUIRE(keys->front().state == ipc::KeyState::kActive);
      REQUIRE(keys->front().epoch >= announced);
      REQUIRE(keys->size() <= 2);
      REQUIRE((keys->size() == 1 || keys->back().epoch == keys->front().epoch + 1));
    }
    const auto first = store->reserve_generations(1);
    REQUIRE(first);
    REQUIRE(*first > generations);
    generations = *first;
  }
}

}  // namespace cosigner::supervisor::test
