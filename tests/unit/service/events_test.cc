#include "supervisor/service/events.h"

#include <catch2/catch.hpp>
#include <vector>

namespace cosigner::supervisor::test {

TEST_CASE("events: who has stopped listening is gone at once, without another event") {
  Events events;
  for (int round = 0; round < 1000; ++round) {
    const auto token = events.listen([](const ByteVector&) { return true; });
    REQUIRE(token);
    events.unlisten(*token);
  }
  CHECK(events.listeners() == 0);
}

TEST_CASE("events: listeners are bounded") {
  Events events;
  std::vector<Events::Token> tokens;
  for (std::size_t k = 0; k < Events::kMaxListeners; ++k) {
    const auto token = events.listen([](const ByteVector&) { return true; });
    REQUIRE(token);
    tokens.push_back(*token);
  }
  CHECK_FALSE(events.listen([](const ByteVector&) { return true; }));
  events.unlisten(tokens[7]);
  CHECK(events.listen([](const ByteVector&) { return true; }));
}

TEST_CASE("events: a listener may end itself and others while it is told") {
  Events events;
  std::vector<std::string> told;
  std::optional<Events::Token> first;
  std::optional<Events::Token> last;
  first = events.listen([&](const ByteVector&) {
    told.emplace_back("first");
    events.unlisten(*first);  // as a client that goes does
    events.unlisten(*last);
    return false;
  });
  const auto second = events.listen([&](const ByteVector&) {
    told.emplace_back("second");
    return true;
  });
  last = events.listen([&](const ByteVector&) {
    told.emplace_back("last");
    return true;
  });
  REQUIRE(second);
  events.emit("node", "", "a", "b", 0, "why");
  events.emit("node", "", "b", "a", 0, "why");
  CHECK(told == std::vector<std::string>{"first", "second", "second"});
  CHECK(events.kept().size() == 2);
  CHECK(events.listeners() == 1);
}

}  // namespace cosigner::supervisor::test
