// What an operation of the user registry costs with 10 to 100,000 users: no process, socket or
// clock, so the numbers are the state machine's own. Users are drawn at random, the worst case for
// caches. Processor time of this thread, the median of 21 batches: on a shared machine the clock on
// the wall measures the neighbours.
//
// No structure is flatter than the machine: "bare" fetches the user's name, a place in each of two
// tables and one line of a record, in memory of the registry's size and the same random order, each
// fetch waiting for the one before. What a request costs above that should not grow.
//
//   registry-bench [operations [users]]

#include <malloc.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "supervisor/registry/registry.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::supervisor;

namespace {

/// Plays the processes: every fork becomes ready, every request is answered, who is asked goes.
class Node {
 public:
  explicit Node(std::size_t users) : random_(1), registry_(limits(users), random_) { settle(); }

  void request(const std::string& user) {
    RequestInfo info;
    info.operation = "sign";
    info.key = "k";
    registry_.request(now_, user, std::move(info), ByteVector(200));
    settle();
  }
  void evict(const std::string& user) {
    static_cast<void>(registry_.evict(now_, user));
    settle();
  }
  void timer() {
    now_ += 1;
    registry_.on_timer(now_);
    settle();
  }
  [[nodiscard]] std::size_t live() const { return registry_.live(); }
  [[nodiscard]] std::size_t idle() const { return registry_.idle(); }

 private:
  static RegistryLimits limits(std::size_t users) {
    RegistryLimits out;
    out.max_workers = users;
    out.starting_at_once = users;
    out.spawns_per_second = 1'000'000'000;
    return out;
  }
  void settle() {
    while (registry_.has_actions()) {
      registry_.take_actions(batch_);
      for (Action& action : batch_) {
        std::visit([this](auto& wanted) { perform(wanted); }, action);
      }
    }
  }
  void perform(action::ReserveGenerations&) {
    registry_.generations_reserved(now_, next_generation_, 1000);
    next_generation_ += 1000;
  }
  void perform(action::Fork& fork) { registry_.ready(now_, fork.generation); }
  void perform(action::Deliver& deliver) {
    registry_.alive(now_, deliver.generation);
    static_cast<void>(registry_.answer(now_, deliver.generation, deliver.number));
  }
  void perform(action::AskEvict& ask) {
    registry_.evict_reply(now_, ask.generation, ask.ask, true);
    registry_.exited(now_, ask.generation, {});
  }
  template <class Other>
  void perform(Other&) {}

  SeededRandom random_;
  std::int64_t now_ = 1000;
  Registry registry_;
  std::vector<Action> batch_;
  std::uint64_t next_generation_ = 1;
};

std::int64_t thread_ns() {
  timespec at{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
  return (std::int64_t{at.tv_sec} * 1'000'000'000) + at.tv_nsec;
}

template <class F>
double nanoseconds_each(std::size_t count, F&& operation) {
  constexpr std::size_t kBatches = 21;
  std::array<double, kBatches> batches{};
  const std::size_t each = std::max<std::size_t>(1, count / kBatches);
  for (std::size_t batch = 0; batch < kBatches; ++batch) {
    const std::int64_t began = thread_ns();
    for (std::size_t i = 0; i < each; ++i) {
      operation((batch * each) + i);
    }
    batches.at(batch) = static_cast<double>(thread_ns() - began) / static_cast<double>(each);
  }
  std::ranges::nth_element(batches, batches.begin() + kBatches / 2);
  return batches.at(kBatches / 2);
}

std::size_t heap_bytes() {
  const auto info = ::mallinfo2();
  return info.uordblks + info.hblkhd;
}

/// The memory a request cannot do without: where the user is (by name, by generation), and the
/// user.
class Bare {
 public:
  explicit Bare(std::size_t users) : table_(table_size(users)), records_(users) {}
  void touch(const std::string& name, std::size_t index) {
    // All of it is zeros, which the compiler does not know: the processor has to wait for each.
    const std::size_t hash = std::hash<std::string>{}(name) ^ last_;
    const std::size_t record = index + table_[hash % table_.size()];
    const std::size_t generation = (hash >> 32U) + records_[record].words[0];
    last_ = table_[generation % table_.size()];
  }
  [[nodiscard]] std::size_t last() const { return last_; }

 private:
  struct alignas(64) Record {
    std::array<std::uint64_t, 24> words{};
  };
  /// Of both tables: places of eight bytes, at most half of them used.
  static std::size_t table_size(std::size_t users) {
    std::size_t places = 16;
    while (places < 4 * users) {
      places *= 2;
    }
    return places;
  }
  std::vector<std::uint64_t> table_;
  std::vector<Record> records_;
  std::size_t last_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const std::size_t operations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200'000;
  std::printf("%8s %18s %10s %18s %10s %16s\n", "users", "request+answer ns", "bare ns",
              "evict+respawn ns", "timer ns", "bytes per user");
  const std::vector<std::size_t> counts =
      argc > 2 ? std::vector<std::size_t>{std::strtoull(argv[2], nullptr, 10)}
               : std::vector<std::size_t>{10, 100, 1'000, 10'000, 100'000};
  for (const std::size_t count : counts) {
    std::vector<std::string> users;
    for (std::size_t i = 0; i < count; ++i) {
      users.push_back("user-" + std::to_string(i));
    }
    const std::size_t before = heap_bytes();
    Node node(count);
    for (const std::string& user : users) {
      node.request(user);
    }
    const std::size_t held = heap_bytes() - before;
    if (node.live() != count || node.idle() != count) {
      std::fprintf(stderr, "%zu of %zu workers live\n", node.live(), count);
      return 1;
    }
    SeededRandom random(7);
    std::vector<std::size_t> order(operations);
    for (std::size_t& index : order) {
      index = random.next_u64() % count;
    }
    const double warm =
        nanoseconds_each(operations, [&](std::size_t i) { node.request(users[order[i]]); });
    const double cold = nanoseconds_each(operations / 4, [&](std::size_t i) {
      node.evict(users[order[i]]);
      node.request(users[order[i]]);
    });
    const double timer = nanoseconds_each(operations, [&](std::size_t) { node.timer(); });
    Bare memory(count);
    const double bare = nanoseconds_each(operations, [&](std::size_t i) {
      memory.touch(users[order[i] + memory.last()], order[i]);
    });
    std::printf("%8zu %18.0f %10.0f %18.0f %10.0f %16zu\n", count, warm, bare, cold, timer,
                held / count);
  }
  return 0;
}
