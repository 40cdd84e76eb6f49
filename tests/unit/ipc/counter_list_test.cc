// Structs of counters: one list gives the order in a frame, the names, and what has grown.

#include "ipc/counter_list.h"

#include <catch2/catch.hpp>
#include <limits>
#include <set>
#include <string>

#include "ipc/codec.h"
#include "ipc/metrics_messages.h"

using namespace cosigner;
using namespace cosigner::ipc;

namespace {

struct Doors {
  std::uint64_t opened = 0;
  std::uint64_t closed = 0;
  std::uint64_t slammed_shut = 0;
  COSIGNER_COUNTERS(opened, closed, slammed_shut)
};

/// An array of counts as a frame has it.
SecretVector counts(std::size_t size) {
  Packer packer;
  packer.array(size);
  for (std::size_t i = 0; i < size; ++i) {
    packer.unsigned_integer(i);
  }
  return packer.take();
}

template <class Events>
void check_events() {
  const auto& names = kCounterNames<Events>;
  std::set<std::string_view> different;
  for (std::size_t i = 0; i < names.size(); ++i) {
    CAPTURE(i, names[i]);
    CHECK(names[i].size() > 4);
    CHECK(names[i].find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == std::string_view::npos);
    CHECK(different.insert(names[i]).second);
    // Each has its own place in the frame.
    Events events;
    *counters_of(events)[i] = std::numeric_limits<std::uint64_t>::max();
    const auto back = decode<Events>(as_view(encode(events)));
    REQUIRE(back);
    CHECK(*back == events);
    CHECK_FALSE(*back == Events{});
  }
  CHECK(decode<Events>(as_view(counts(names.size()))));
  // There is no place for another one, nor may one be left out.
  CHECK_FALSE(decode<Events>(as_view(counts(names.size() - 1))));
  CHECK_FALSE(decode<Events>(as_view(counts(names.size() + 1))));
}

}  // namespace

TEST_CASE("counters are named as they are listed") {
  static_assert(kCounterNames<Doors>.size() == 3);
  CHECK(kCounterNames<Doors>[0] == "opened");
  CHECK(kCounterNames<Doors>[1] == "closed");
  CHECK(kCounterNames<Doors>[2] == "slammed_shut");
  Doors doors;
  CHECK(counters_of(doors)[0] == &doors.opened);
  CHECK(counters_of(doors)[1] == &doors.closed);
  CHECK(counters_of(doors)[2] == &doors.slammed_shut);
}

TEST_CASE("what is taken of counters is what came since") {
  Doors told;
  const Doors first = take_since(told, Doors{.opened = 3, .closed = 1, .slammed_shut = 0});
  CHECK(first.opened == 3);
  CHECK(first.closed == 1);
  CHECK(first.slammed_shut == 0);
  const Doors second = take_since(told, Doors{.opened = 3, .closed = 2, .slammed_shut = 7});
  CHECK(second.opened == 0);
  CHECK(second.closed == 1);
  CHECK(second.slammed_shut == 7);
  CHECK(told.slammed_shut == 7);
}

TEST_CASE("a report has one place for each event that there is") {
  check_events<SessionEvents>();
  check_events<GatewayEvents>();
}
