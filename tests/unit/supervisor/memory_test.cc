// Eviction under memory pressure: reading, rule, registry, guard.

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "supervisor/service/memory_guard.h"
#include "tests/unit/supervisor/registry_world.h"

using namespace cosigner;
using namespace cosigner::supervisor;
using cosigner::supervisor::test::calm;
using cosigner::supervisor::test::World;

TEST_CASE("memory: what the kernel says is read, and what it does not say is not made up") {
  CHECK(parse_available("MemTotal:       24000000 kB\nMemAvailable:    1234 kB\n") == 1234U * 1024);
  CHECK_FALSE(parse_available("MemTotal: 5 kB\n"));
  CHECK_FALSE(parse_available("MemAvailable: none\n"));
  CHECK_FALSE(parse_available("MemAvailable: 99999999999999999999 kB\n"));
  CHECK(parse_pressure("some avg10=12.50 avg60=3.00 avg300=0.10 total=5\n"
                       "full avg10=99.00 avg60=0.00 avg300=0.00 total=1\n") == 12.5);
  CHECK_FALSE(parse_pressure("full avg10=99.00\n"));
  CHECK_FALSE(parse_pressure(""));

  const auto root =
      std::filesystem::temp_directory_path() / ("cosigner-memory-" + std::to_string(::getpid()));
  std::filesystem::create_directories(root / "pressure");
  std::ofstream(root / "meminfo") << "MemAvailable: 7 kB\n";
  CHECK(read_host_memory(root).available_bytes == 7U * 1024);
  CHECK_FALSE(read_host_memory(root).pressure_percent);
  std::ofstream(root / "pressure/memory") << "some avg10=1.00 avg60=0 avg300=0 total=0\n";
  CHECK(read_host_memory(root).pressure_percent == 1.0);
  std::filesystem::remove_all(root);
  CHECK(read_host_memory().available_bytes > 0U);  // this machine's own
}

TEST_CASE("memory: short below the floor or above the pressure, each if it is wanted and known") {
  const MemoryLimits limits{.floor_bytes = 1000, .pressure_percent = 10};
  CHECK(short_of_memory({.available_bytes = 999, .pressure_percent = 0}, limits));
  CHECK_FALSE(short_of_memory({.available_bytes = 1000, .pressure_percent = 10}, limits));
  CHECK(short_of_memory({.available_bytes = 1000, .pressure_percent = 10.1}, limits));
  CHECK_FALSE(short_of_memory({}, limits));
  CHECK_FALSE(short_of_memory({.available_bytes = 0, .pressure_percent = 100},
                              {.floor_bytes = 0, .pressure_percent = 0}));
  const HostMemory hidden = read_host_memory("/nonexistent");
  CHECK(unwatched(hidden, limits).find("memory_floor_bytes") != std::string::npos);
  CHECK(unwatched(hidden, limits).find("memory_pressure_percent") != std::string::npos);
  CHECK(unwatched({.available_bytes = 1, .pressure_percent = 1}, limits).empty());
  CHECK(unwatched({.available_bytes = 1, .pressure_percent = {}},
                  {.floor_bytes = 9, .pressure_percent = 0})
            .empty());
  CHECK(unwatched(hidden, {.floor_bytes = 0, .pressure_percent = 0}).empty());
  CHECK(workers_to_relieve(0) == 0);
  CHECK(workers_to_relieve(1) == 1);
  CHECK(workers_to_relieve(8) == 1);
  CHECK(workers_to_relieve(5000) == 625);
}

TEST_CASE("memory: the least recently used idle workers go, a busy one never") {
  World world({}, 21, calm());
  const auto use = [&](const std::string& user) {
    const auto id = world.request(user);
    world.run(100);
    REQUIRE(world.answered(id));
  };
  const auto lives = [&](const std::string& user) {
    const auto view = world.registry().user(world.now(), user);
    return view && view->generation != 0;
  };
  for (const char* user : {"alice", "ben", "carol", "dave"}) {
    use(user);
  }
  use("alice");  // the order is now ben, carol, dave, alice
  world.odds().hangs = 100;
  world.request("ben");  // busy, and so not in it
  REQUIRE(world.registry().idle() == 3);
  CHECK(world.registry().relieve(world.now(), 2) == 2);
  world.settle();
  world.run(100);
  CHECK(lives("ben"));
  CHECK_FALSE(lives("carol"));
  CHECK_FALSE(lives("dave"));
  CHECK(lives("alice"));
  CHECK(world.registry().relieve(world.now(), 99) == 1);
  world.settle();
  world.run(100);
  CHECK(lives("ben"));
  CHECK_FALSE(lives("alice"));
  CHECK(world.registry().relieve(world.now(), 99) == 0);
  CHECK(world.registry().counters().asked_for_memory == 3);
  CHECK(world.registry().counters().evictions == 3);
  CHECK(world.registry().counters().deaths == 0);

  SECTION("their users come back") {
    world.odds().hangs = 0;
    use("carol");
  }
  SECTION("nobody is asked while the node shuts down") {
    world.odds().hangs = 0;
    use("carol");
    world.registry().drain(world.now(), 1000);
    CHECK(world.registry().relieve(world.now(), 99) == 0);
    world.settle();
    world.run(2000);
  }
}

TEST_CASE("memory: the guard asks every time while memory is short, and tells both ends once") {
  uv_loop_t loop;
  uv_loop_init(&loop);
  HostMemory memory{.available_bytes = 500, .pressure_percent = {}};
  std::size_t idle = 16;
  std::vector<std::string> told;
  std::vector<std::size_t> asked;
  {
    MemoryGuard guard(&loop, {.floor_bytes = 1000, .pressure_percent = 10},
                      {.idle = [&] { return idle; },
                       .relieve =
                           [&](std::size_t count) {
                             asked.push_back(count);
                             idle -= count;
                             return count;
                           },
                       .on_change =
                           [&](bool is_short, const std::string& text) {
                             told.push_back((is_short ? "short: " : "enough: ") + text);
                           }},
                      [&] { return memory; });
    guard.look();
    guard.look();
    CHECK(asked == std::vector<std::size_t>{2, 2});
    CHECK(told.size() == 1);
    memory.available_bytes = 5000;
    guard.look();
    guard.look();
    CHECK(asked.size() == 2);
    REQUIRE(told.size() == 2);
    CHECK(told[1].starts_with("enough: memory is enough again: 0 MiB available"));
    memory.available_bytes = 0;
    idle = 0;
    guard.look();  // nobody to ask: not even looked at
    CHECK(told.size() == 2);
  }
  while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
  }
  CHECK(uv_loop_close(&loop) == 0);
}
