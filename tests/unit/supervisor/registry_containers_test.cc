// What the registry files its users in, each beside a container of the standard library that is
// given the same operations.

#include <algorithm>
#include <catch2/catch.hpp>
#include <list>
#include <map>
#include <set>

#include "supervisor/registry/deadline_heap.h"
#include "supervisor/registry/slot_list.h"
#include "supervisor/registry/tagged_table.h"
#include "tests/support/seeded_random.h"

namespace cosigner::supervisor {
namespace {

constexpr std::size_t kContainerSteps = 20'000;

// Few homes and few tags: long runs of places, keys that differ only in what the caller compares,
// and runs that go on at the start of the array.
TEST_CASE("registry containers: a tagged table finds what is in it and nothing else") {
  const std::uint64_t tags = GENERATE(std::uint64_t{1}, std::uint64_t{3}, std::uint64_t{40});
  SeededRandom random(tags);
  const auto hash_of = [tags](std::uint32_t value) {
    return ((value % tags) * 0xFFFF'FFF1U) << 32U;  // the first tag is the one that means free
  };
  TaggedTable<std::uint32_t> table;
  std::set<std::uint32_t> model;
  for (std::size_t step = 0; step < kContainerSteps; ++step) {
    const auto value = static_cast<std::uint32_t>(random.next_u64() % 200);
    if (model.erase(value) == 1) {
      table.erase(hash_of(value), value);
    } else {
      model.insert(value);
      table.insert(hash_of(value), value);
    }
    const auto asked = static_cast<std::uint32_t>(random.next_u64() % 200);
    const auto found =
        table.find(hash_of(asked), [asked](std::uint32_t other) { return other == asked; });
    REQUIRE(found.has_value() == model.contains(asked));
    REQUIRE(table.size() == model.size());
  }
  for (std::uint32_t value = 0; value < 200; ++value) {
    const auto found =
        table.find(hash_of(value), [value](std::uint32_t other) { return other == value; });
    REQUIRE(found == (model.contains(value) ? std::optional(value) : std::nullopt));
  }
}

TEST_CASE("registry containers: a slot list keeps its order") {
  SeededRandom random(2);
  SlotList list;
  std::list<std::uint32_t> model;
  for (std::size_t step = 0; step < kContainerSteps; ++step) {
    const auto slot = static_cast<std::uint32_t>(random.next_u64() % 50);
    const bool in = std::ranges::find(model, slot) != model.end();
    REQUIRE(list.contains(slot) == in);
    switch (random.next_u64() % 3) {
      case 0:
        list.erase(slot);
        model.remove(slot);
        break;
      case 1:
        if (!in) {
          list.push_front(slot);
          model.push_front(slot);
        }
        break;
      default:
        if (!in) {
          list.push_back(slot);
          model.push_back(slot);
        }
    }
    REQUIRE(list.whole());
    REQUIRE(list.size() == model.size());
    if (!model.empty()) {
      REQUIRE(list.front() == model.front());
      REQUIRE(list.back() == model.back());
    }
  }
  while (!model.empty()) {
    REQUIRE(list.front() == model.front());
    list.erase(model.front());
    model.pop_front();
  }
  REQUIRE(list.empty());
}

TEST_CASE("registry containers: the nearest deadline comes first, however they move") {
  SeededRandom random(3);
  DeadlineHeap heap;
  std::map<std::uint32_t, std::int64_t> model;
  for (std::size_t step = 0; step < kContainerSteps; ++step) {
    const auto slot = static_cast<std::uint32_t>(random.next_u64() % 100);
    const auto found = model.find(slot);
    REQUIRE(heap.at(slot) == (found == model.end() ? std::nullopt : std::optional(found->second)));
    switch (random.next_u64() % 4) {
      case 0:
        heap.erase(slot);
        model.erase(slot);
        break;
      case 1:
        if (!model.empty()) {
          const std::int64_t at = heap.first_at();
          REQUIRE(model.at(heap.pop()) == at);
          const auto first =
              std::ranges::min_element(model, {}, [](const auto& entry) { return entry.second; });
          REQUIRE(first->second == at);
          std::erase_if(model, [&heap](const auto& entry) { return !heap.at(entry.first); });
        }
        break;
      default: {
        const auto at = static_cast<std::int64_t>(random.next_u64() % 30);  // many are equal
        heap.set(slot, at);
        model[slot] = at;
      }
    }
    REQUIRE(heap.whole());
    REQUIRE(heap.size() == model.size());
  }
}

}  // namespace
}  // namespace cosigner::supervisor
