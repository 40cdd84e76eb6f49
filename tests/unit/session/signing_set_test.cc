// The choice of signers when some pairs may not sign together.
#include "worker/session/signing_set.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "tests/support/seeded_random.h"

using namespace cosigner;
using namespace cosigner::worker;

namespace {

std::vector<std::size_t> everyone(std::size_t count) {
  std::vector<std::size_t> out(count);
  std::iota(out.begin(), out.end(), std::size_t{0});
  return out;
}

/// All subsets, in the order of `preference` reversed by significance: the slow truth.
bool exists(const Compatibility& pairs, std::size_t size) {
  for (std::uint32_t mask = 0; mask < (1U << pairs.size()); ++mask) {
    if (static_cast<std::size_t>(__builtin_popcount(mask)) != size) {
      continue;
    }
    bool good = true;
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        good = good && ((mask >> i & 1U) == 0 || (mask >> j & 1U) == 0 || pairs.allowed(i, j));
      }
    }
    if (good) {
      return true;
    }
  }
  return false;
}

}  // namespace

TEST_CASE("without bans the first come are taken", "[signing_set]") {
  const Compatibility pairs(5);
  const std::vector<std::size_t> preference{3, 1, 4, 2};
  CHECK(choose_set(pairs, 3, preference, 0) == std::vector<std::size_t>{0, 3, 1});
  CHECK_FALSE(choose_set(pairs, 6, preference, 0));
  CHECK(choose_set(Compatibility(32), 32, everyone(32))->size() == 32);
}

TEST_CASE("2-of-3: a banned pair leaves the two others, whoever coordinates", "[signing_set]") {
  Compatibility pairs(3);
  pairs.forbid(0, 2);
  CHECK(choose_set(pairs, 2, std::vector<std::size_t>{2, 1}, 0) == std::vector<std::size_t>{0, 1});
  CHECK(choose_set(pairs, 2, std::vector<std::size_t>{0, 1}, 2) == std::vector<std::size_t>{2, 1});
  CHECK(choose_set(pairs, 2, std::vector<std::size_t>{2, 0}, 1) == std::vector<std::size_t>{1, 2});
  CHECK_FALSE(choose_set(pairs, 3, everyone(3)));
}

TEST_CASE("every answer is a set without a banned pair, and no answer means there is none",
          "[signing_set]") {
  SeededRandom random(5);
  for (int run = 0; run < 2000; ++run) {
    const std::size_t count = 2 + random.next_u64() % 8;
    const std::size_t size = 2 + random.next_u64() % (count - 1);
    Compatibility pairs(count);
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (random.next_u64() % 100 < static_cast<std::uint64_t>(run % 90)) {
          pairs.forbid(i, j);
        }
      }
    }
    const auto set = choose_set(pairs, size, everyone(count));
    REQUIRE(set.has_value() == exists(pairs, size));
    for (std::size_t i = 0; set && i < size; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        REQUIRE(pairs.allowed((*set)[i], (*set)[j]));
      }
    }
  }
}

TEST_CASE("bans claimed at random cost a bounded search", "[signing_set]") {
  // Sixteen couples that exclude each other: no set of 17, and 2^16 partial ones.
  Compatibility pairs(32);
  for (std::size_t i = 0; i < 32; i += 2) {
    pairs.forbid(i, i + 1);
  }
  CHECK(choose_set(pairs, 16, everyone(32))->size() == 16);
  CHECK_FALSE(choose_set(pairs, 17, everyone(32)));
}
