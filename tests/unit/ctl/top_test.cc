// `cosignerctl top`: its arithmetic and its drawing.

#include "supervisor/ctl/top.h"

#include <atomic>
#include <catch2/catch.hpp>

#include "ipc/pack.h"
#include "tests/unit/ctl/fake_node.h"

namespace cosigner::ctl {
namespace {

using std::chrono::milliseconds;

Json user(const char* name, std::uint64_t generation, std::uint64_t processor_ms,
          std::uint64_t memory, std::uint64_t in_flight = 0) {
  return Json{{"user", name},
              {"state", generation == 0 ? "absent" : "ready"},
              {"generation", generation},
              {"pid", generation == 0 ? 0 : 1000 + generation},
              {"memory_bytes", memory},
              {"processor_ms", processor_ms},
              {"last_active_ms", 5000 - 10 * generation},
              {"sessions", 0U},
              {"in_flight", in_flight},
              {"queued", 0U},
              {"restarts", 0U}};
}

TopSample sample(milliseconds at, std::uint64_t requests, std::vector<Json> users) {
  Json list = Json::array();
  for (Json& entry : users) {
    list.push_back(std::move(entry));
  }
  return {std::chrono::steady_clock::time_point(at),
          Json{{"node", "node1"},
               {"ready", true},
               {"degraded", Json::array()},
               {"workers", {{"ready", users.size()}}},
               {"counters", {{"requests", requests}, {"spawns", 3U}}}},
          Json{{"users", std::move(list)}}};
}

std::vector<std::string> names(const Json& snapshot) {
  std::vector<std::string> out;
  for (const Json& entry : snapshot["users"]) {
    out.push_back(entry["user"]);
  }
  return out;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("top: the first look has no rates, the second has those of the time between") {
  const TopSample first = sample(milliseconds(0), 100, {user("alice", 1, 50, 4096)});
  const TopSample second = sample(milliseconds(2000), 300, {user("alice", 1, 250, 8192)});
  const Json alone = top_snapshot(std::nullopt, first, "processor");
  CHECK(alone["rates"]["requests"].is_null());
  CHECK(alone["users"][0]["processor_percent"].is_null());
  CHECK(alone["interval_s"].is_null());
  const Json both = top_snapshot(first, second, "processor");
  CHECK(both["rates"]["requests"] == 100.0);
  CHECK(both["rates"]["spawns"] == 0.0);
  CHECK(both["interval_s"] == 2.0);
  CHECK(both["users"][0]["processor_percent"] == 10.0);
  CHECK(both["processor_percent"] == 10.0);
  CHECK(both["memory_bytes"] == 8192U);
}

TEST_CASE("top: another process of the same user, and a node that began anew, start from zero") {
  const TopSample first = sample(milliseconds(0), 100, {user("alice", 1, 5000, 1)});
  const TopSample second = sample(milliseconds(1000), 7, {user("alice", 2, 30, 1)});
  const Json snapshot = top_snapshot(first, second, "processor");
  CHECK(snapshot["users"][0]["processor_percent"] == 3.0);
  CHECK(snapshot["rates"]["requests"] == 7.0);
}

TEST_CASE("top: users are sorted as asked, those without a process are left out") {
  const TopSample first = sample(milliseconds(0), 0,
                                 {user("a", 1, 0, 10, 3), user("b", 2, 0, 30, 1),
                                  user("c", 3, 0, 20, 2), user("gone", 0, 0, 0)});
  const TopSample second = sample(milliseconds(1000), 0,
                                  {user("a", 1, 10, 10, 3), user("b", 2, 20, 30, 1),
                                   user("c", 3, 30, 20, 2), user("gone", 0, 0, 0)});
  CHECK(names(top_snapshot(first, second, "processor")) == Names{"c", "b", "a"});
  CHECK(names(top_snapshot(first, second, "memory")) == Names{"b", "c", "a"});
  CHECK(names(top_snapshot(first, second, "requests")) == Names{"a", "c", "b"});
  CHECK(names(top_snapshot(first, second, "active")) == Names{"c", "b", "a"});
  CHECK(names(top_snapshot(first, second, "user")) == Names{"a", "b", "c"});
}

TEST_CASE("top: the text fits the screen, or is whole where there is none") {
  std::vector<Json> many;
  for (std::uint64_t i = 1; i <= 50; ++i) {
    many.push_back(user(("user-with-a-long-name-" + std::to_string(i)).c_str(), i, i, i << 20));
  }
  const Json snapshot = top_snapshot(std::nullopt, sample(milliseconds(0), 1, many), "memory");
  const std::string whole = top_text(snapshot, {});
  CHECK(std::ranges::count(whole, '\n') == 50 + 5);
  CHECK(whole.starts_with("node1: ready\n"));
  CHECK(whole.find("50.0 MiB") < whole.find("49.0 MiB"));
  CHECK(whole.find('\x1b') == std::string::npos);
  const std::string small = top_text(snapshot, {.rows = 12, .columns = 40});
  CHECK(std::ranges::count(small, '\n') <= 12);
  std::size_t widest = 0;
  for (std::size_t begin = 0; begin < small.size();) {
    const std::size_t end = small.find('\n', begin);
    widest = std::max(widest, end - begin);
    begin = end + 1;
  }
  CHECK(widest == 40);
}

TEST_CASE("top: between two looks it says something, lest the node close the connection") {
  std::atomic<bool> interrupted = false;
  std::atomic<int> heard = 0;
  cosigner::test::FakeNode node([&](const ipc::ControlCall& call, bool&) {
    CHECK(call.command == "status");
    interrupted = ++heard == 3;
    ipc::ControlReply reply;
    reply.final = true;
    reply.body = ipc::MapPacker().finish();
    return cosigner::test::FakeNode::Replies{reply};
  });
  auto client = ControlClient::connect(node.path());
  REQUIRE(client);
  const auto never = std::chrono::steady_clock::now() + std::chrono::hours(1);
  CHECK(wait_connected(*client, never, interrupted, std::chrono::milliseconds(10)));
  CHECK(heard == 3);
  CHECK(wait_connected(*client, std::chrono::steady_clock::now(), interrupted));
}

TEST_CASE("top: whatever a node of another release says") {
  for (const char* text : {"{}", "[]", "null", "3", R"({"users":3,"counters":7,"workers":[1]})",
                           R"({"users":[{}, 5, {"user":7,"pid":"x"}],"degraded":[3]})"}) {
    const TopSample strange{std::chrono::steady_clock::time_point(), Json::parse(text),
                            Json::parse(text)};
    CHECK_NOTHROW(top_text(top_snapshot(strange, strange, "memory"), {.rows = 5, .columns = 20}));
  }
}

}  // namespace cosigner::ctl
