// Group commit: order, and whose failure is whose.

#include "supervisor/store/store_thread.h"

#include <sys/resource.h>

#include <csignal>
#include <optional>

#include "supervisor/service/clock.h"
#include "tests/unit/supervisor/store_fixture.h"

namespace cosigner::supervisor::test {
namespace {

/// While it lives no file of this process grows beyond `bytes`, as on a disk that is nearly full.
class FullDisk {
 public:
  explicit FullDisk(std::uintmax_t bytes) {
    before_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &limit_);
    rlimit tight = limit_;
    tight.rlim_cur = bytes;
    ::setrlimit(RLIMIT_FSIZE, &tight);
  }
  ~FullDisk() {
    ::setrlimit(RLIMIT_FSIZE, &limit_);
    std::signal(SIGXFSZ, before_);
  }
  FullDisk(const FullDisk&) = delete;
  FullDisk& operator=(const FullDisk&) = delete;

 private:
  rlimit limit_{};
  void (*before_)(int) = SIG_DFL;
};

ipc::StoreResult result_of(std::uint8_t number, std::size_t bytes) {
  ipc::StoreResult out;
  out.session.data.fill(number);
  out.id.data.fill(number);
  out.keep_until_ms = 1'000'000;
  out.answer = ByteVector(bytes, number);
  return out;
}

}  // namespace

TEST_CASE("store thread: callbacks come in order and after the commit, failures stay alone") {
  const StoreFixture fixture;
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  auto thread = std::make_unique<StoreThread>(&loop, std::move(*fixture.open()));
  std::vector<std::uint64_t> firsts;
  std::vector<ErrorCode> failures;
  const int count = 1200;  // more than a group
  for (int i = 0; i < count; ++i) {
    thread->submit(
        i % 3 == 0 ? StoreThread::Urgency::kNow : StoreThread::Urgency::kBehind,
        [i](Store& store) -> Expected<std::uint64_t> {
          auto first = store.reserve_generations(1);
          if (i % 10 == 9) {
            return fail(ErrorCode::kConflict, "undone");
          }
          return first;
        },
        [&](const Expected<std::uint64_t>& first) {
          if (first) {
            firsts.push_back(*first);
          } else {
            failures.push_back(first.error().code);
          }
        });
  }
  bool late = false;
  std::optional<LoopTimer> guard;
  guard.emplace(&loop, [&] { late = true; });
  guard->start(20'000);
  while (firsts.size() + failures.size() < count && !late) {
    uv_run(&loop, UV_RUN_ONCE);
  }
  REQUIRE_FALSE(late);
  REQUIRE(failures == std::vector<ErrorCode>(count / 10, ErrorCode::kConflict));
  for (std::size_t i = 0; i < firsts.size(); ++i) {
    REQUIRE(firsts[i] == i + 1);  // what failed left no gap
  }
  // Written behind: alone, it is durable within the time it may wait.
  const std::int64_t begin = monotonic_ms();
  bool done = false;
  thread->submit(
      StoreThread::Urgency::kBehind, [](Store& store) { return store.reserve_generations(1); },
      [&](const Expected<std::uint64_t>&) { done = true; });
  while (!done && !late) {
    uv_run(&loop, UV_RUN_ONCE);
  }
  REQUIRE(done);
  REQUIRE(monotonic_ms() - begin >= 40);
  thread.reset();
  guard.reset();
  uv_run(&loop, UV_RUN_DEFAULT);
  REQUIRE(uv_loop_close(&loop) == 0);
  REQUIRE(fixture.open()->reserve_generations(1) ==
          static_cast<std::uint64_t>(count) - failures.size() + 2);
}

TEST_CASE("store thread: what does not fit the disk fails alone, and nothing failed is durable") {
  const StoreFixture fixture;
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  constexpr int kJobs = 8;
  constexpr int kTooLarge = 3;  // in the middle of its group
  std::vector<bool> stored;
  bool read = false;
  {
    auto store = fixture.open();
    REQUIRE(store);
    REQUIRE(store->store_pending("alice", StoreFixture::stored(StoreFixture::record(1))));
    const FullDisk disk(std::filesystem::file_size(fixture.path() + "-wal") + (256U << 10));
    auto thread = std::make_unique<StoreThread>(&loop, *std::move(store));
    for (int i = 0; i < kJobs; ++i) {
      const auto number = static_cast<std::uint8_t>(i + 1);
      thread->submit(
          StoreThread::Urgency::kBehind,
          [number, bytes = i == kTooLarge ? 1U << 20 : 100U](Store& inside) {
            return inside.store_result("alice", result_of(number, bytes));
          },
          [&](const Expected<void>& done) { stored.push_back(done.has_value()); });
    }
    thread->submit(
        StoreThread::Urgency::kNow, [](Store& inside) { return inside.keys_of("alice"); },
        [&](const auto& keys) { read = keys && keys->size() == 1; });
    bool late = false;
    LoopTimer guard(&loop, [&] { late = true; });
    guard.start(20'000);
    while (!read && !late) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    REQUIRE_FALSE(late);
    thread.reset();
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  REQUIRE(uv_loop_close(&loop) == 0);
  REQUIRE(stored.size() == kJobs);
  auto store = fixture.open();
  for (int i = 0; i < kJobs; ++i) {
    INFO(i);
    REQUIRE(stored[static_cast<std::size_t>(i)] == (i != kTooLarge));
    const ipc::StoreResult one = result_of(static_cast<std::uint8_t>(i + 1), 0);
    const auto found = store->find_result(
        "alice", {.order = 1, .session = one.session, .initiator = one.initiator, .id = one.id});
    REQUIRE(found);
    REQUIRE(found->answer.has_value() == stored[static_cast<std::size_t>(i)]);
  }
}

TEST_CASE(
    "store thread: a failed job that cannot be undone is never committed with its neighbours") {
  const StoreFixture fixture;
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  constexpr int kJobs = 5;
  constexpr int kBroken = 2;
  std::vector<ErrorCode> failures;
  int stored = 0;
  {
    auto thread = std::make_unique<StoreThread>(&loop, *fixture.open());
    for (int i = 0; i < kJobs; ++i) {
      thread->submit(
          i + 1 == kJobs ? StoreThread::Urgency::kNow : StoreThread::Urgency::kBehind,
          [number = static_cast<std::uint8_t>(i + 1)](Store& inside) -> Expected<void> {
            if (number != kBroken + 1) {
              return inside.store_result("alice", result_of(number, 100));
            }
            // Its savepoint is gone with the transaction it was in, while another is open.
            if (!inside.rollback() || !inside.begin() ||
                !inside.store_result("alice", result_of(number, 100))) {
              return fail(ErrorCode::kInternal, "the test itself");
            }
            return fail(ErrorCode::kConflict, "to be undone");
          },
          [&](const Expected<void>& done) {
            if (done) {
              ++stored;
            } else {
              failures.push_back(done.error().code);
            }
          });
    }
    bool late = false;
    LoopTimer guard(&loop, [&] { late = true; });
    guard.start(20'000);
    while (stored + static_cast<int>(failures.size()) < kJobs && !late) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    REQUIRE_FALSE(late);
    thread.reset();
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  REQUIRE(uv_loop_close(&loop) == 0);
  REQUIRE(failures == std::vector{ErrorCode::kStorageFailed});
  auto store = fixture.open();
  for (int i = 0; i < kJobs; ++i) {
    INFO(i);
    const ipc::StoreResult one = result_of(static_cast<std::uint8_t>(i + 1), 0);
    const auto found = store->find_result(
        "alice", {.order = 1, .session = one.session, .initiator = one.initiator, .id = one.id});
    REQUIRE(found);
    REQUIRE(found->answer.has_value() == (i != kBroken));
  }
}

TEST_CASE("store thread: a reader in the way puts the end of an erased share off, not away") {
  const StoreFixture fixture;
  uv_loop_t loop;
  REQUIRE(uv_loop_init(&loop) == 0);
  const KeyRecord first = StoreFixture::record(1);
  const KeyRecord second = StoreFixture::record(2);
  auto store = fixture.open();
  REQUIRE(store->store_pending("alice", StoreFixture::stored(first)));
  REQUIRE(store->activate("alice", fixture.activation(first)));
  REQUIRE(store->store_pending("alice", StoreFixture::stored(second)));
  REQUIRE(store->truncate_log() == true);
  auto thread = std::make_unique<StoreThread>(&loop, *std::move(store));
  bool late = false;
  std::optional<LoopTimer> guard;
  guard.emplace(&loop, [&] { late = true; });
  guard->start(20'000);
  const auto stored = [&](auto work) {
    std::optional<bool> ok;
    thread->submit(StoreThread::Urgency::kNow, std::move(work),
                   [&](const auto& outcome) { ok = outcome.has_value(); });
    while (!ok && !late) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    return ok == true;
  };
  sqlite3* reader = nullptr;
  REQUIRE(sqlite3_open(fixture.path().c_str(), &reader) == SQLITE_OK);
  REQUIRE(sqlite3_exec(reader, "BEGIN; SELECT count(*) FROM keys", nullptr, nullptr, nullptr) ==
          SQLITE_OK);
  CHECK(
      stored([&](Store& inside) { return inside.activate("alice", fixture.activation(second)); }));
  CHECK(fixture.on_disk("sealed share of epoch 1"));  // the reader may look at it still
  REQUIRE(sqlite3_exec(reader, "COMMIT", nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK(stored([](Store& inside) { return inside.reserve_generations(1); }));
  CHECK_FALSE(fixture.on_disk("sealed share of epoch 1"));
  CHECK(fixture.on_disk("sealed share of epoch 2"));
  sqlite3_close(reader);
  thread.reset();
  guard.reset();
  uv_run(&loop, UV_RUN_DEFAULT);
  REQUIRE(uv_loop_close(&loop) == 0);
}

}  // namespace cosigner::supervisor::test
