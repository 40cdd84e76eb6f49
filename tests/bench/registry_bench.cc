// What an operation of the user registry costs with 10 to 100,000 users: no process, socket or
// clock, so the numbers are the state machine's own.
//
//   registry-bench [operations]

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unordered_map>
#include <vector>

#include "crypto/base/random.h"
#include "supervisor/registry/registry.h"

using namespace cosigner;
using namespace cosigner::supervisor;

namespace {

using Clock = std::chrono::steady_clock;

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
      for (Action& action : registry_.take_actions()) {
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
  std::uint64_t next_generation_ = 1;
};

template <class F>
double nanoseconds_each(std::size_t count, F&& operation) {
  const auto began = Clock::now();
  for (std::size_t i = 0; i < count; ++i) {
    operation(i);
  }
  return std::chrono::duration<double, std::nano>(Clock::now() - began).count() /
         static_cast<double>(count);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t operations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200'000;
  std::printf("%10s %22s %22s %14s\n", "users", "request+answer ns", "evict+respawn ns",
              "timer ns");
  for (const std::size_t count : {10U, 100U, 1'000U, 10'000U, 100'000U}) {
    std::vector<std::string> users;
    for (std::size_t i = 0; i < count; ++i) {
      users.push_back("user-" + std::to_string(i));
    }
    Node node(count);
    for (const std::string& user : users) {
      node.request(user);
    }
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
    std::printf("%10zu %22.0f %22.0f %14.0f\n", count, warm, cold, timer);
  }
  return 0;
}
