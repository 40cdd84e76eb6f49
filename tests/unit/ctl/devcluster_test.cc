// The development cluster's bookkeeping: it ends what it started, and nothing else.

#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <fstream>
#include <thread>

#include "supervisor/devcluster/cluster.h"
#include "supervisor/devcluster/node_files.h"
#include "supervisor/devcluster/state.h"
#include "tests/unit/ctl/temporary_directory.h"

namespace cosigner::devcluster {
namespace {

ProcessIdentity sleeper(const test::TemporaryDirectory& directory, std::string command) {
  return launch({.arguments = {"/bin/sh", "-c", std::move(command)},
                 .log = directory.path() / "log",
                 .environment = {{"WORD", "from the environment"}}})
      .value();
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

TEST_CASE("a process is ended only if pid and start time are both its own") {
  test::TemporaryDirectory directory;
  const ProcessIdentity process = sleeper(directory, "exec sleep 60");
  CHECK(is_running(process));
  ProcessIdentity other = process;
  other.start_time += 1;  // as if the pid had been given to somebody else since
  CHECK_FALSE(is_running(other));
  CHECK_FALSE(send_signal(other, SIGKILL));
  CHECK(end_all({other}, std::chrono::milliseconds(10)).empty());
  CHECK(is_running(process));
  CHECK(end_all({process}, std::chrono::seconds(5)).empty());
  CHECK_FALSE(is_running(process));
  ::waitpid(process.pid, nullptr, 0);
}

TEST_CASE("a process that ignores SIGTERM, or is stopped, is ended all the same") {
  test::TemporaryDirectory directory;
  const ProcessIdentity stubborn =
      sleeper(directory, "trap '' TERM; echo ready; while :; do sleep 1; done");
  const ProcessIdentity stopped = sleeper(directory, "exec sleep 60");
  for (int i = 0; i < 500 && contents(directory.path() / "log").empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  REQUIRE(send_signal(stopped, SIGSTOP));
  CHECK(end_all({stubborn, stopped}, std::chrono::milliseconds(200)).empty());
  CHECK_FALSE(is_running(stubborn));
  CHECK_FALSE(is_running(stopped));
  ::waitpid(stubborn.pid, nullptr, 0);
  ::waitpid(stopped.pid, nullptr, 0);
}

TEST_CASE("launching tells when the program cannot be started, and hands on the environment") {
  test::TemporaryDirectory directory;
  const auto missing = launch(
      {.arguments = {"/nonexistent/program"}, .log = directory.path() / "log", .environment = {}});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message.find("/nonexistent/program") != std::string::npos);
  const ProcessIdentity process = sleeper(directory, "echo $WORD");
  ::waitpid(process.pid, nullptr, 0);
  CHECK(contents(directory.path() / "log") == "from the environment\n");
}

TEST_CASE("state survives from command to command, and damage is reported") {
  test::TemporaryDirectory directory;
  const Layout layout{directory.path()};
  CHECK(load_state(layout).value() == std::nullopt);
  State state;
  state.topology = Topology::kLeaf;
  state.nodes = 5;
  state.threshold = 3;
  state.complete = true;
  state.servers = {"hub", "leaf-node1"};
  state.running = {{"hub", {11, 1}}, {"leaf-node1", {12, 2}}, {"node1", {13, 3}}};
  REQUIRE(save_state(layout, state));
  const auto loaded = load_state(layout).value();
  REQUIRE(loaded);
  CHECK(loaded->topology == Topology::kLeaf);
  CHECK(loaded->nodes == 5);
  CHECK(loaded->threshold == 3);
  CHECK(loaded->complete);
  CHECK(loaded->running == state.running);
  CHECK(loaded->node_processes() == std::vector<ProcessIdentity>{{13, 3}});
  CHECK(loaded->server_processes().size() == 2);
  std::ofstream(layout.state()) << "{\"nodes\": 3";
  CHECK_FALSE(load_state(layout));
}

TEST_CASE("settings are TABLE.KEY=VALUE") {
  Overrides overrides;
  REQUIRE(add_override(overrides, "sessions.attempt_timer_ms=500"));
  REQUIRE(add_override(overrides, "log.level=\"debug\""));
  CHECK(overrides["sessions"]["attempt_timer_ms"] == "500");
  CHECK(overrides["log"]["level"] == "\"debug\"");
  for (const char* text : {"", "a", "a.b", "a=b", ".a=1", "a.=1", "a.b="}) {
    CHECK_FALSE(add_override(overrides, text));
  }
}

TEST_CASE("words for a shell") {
  CHECK(shell_quoted("plain") == "'plain'");
  CHECK(shell_quoted("it's $HOME") == "'it'\\''s $HOME'");
}

TEST_CASE("commands on what is no cluster say so") {
  test::TemporaryDirectory directory;
  const std::atomic<bool> interrupted{false};
  const Cluster::Environment environment{.programs = "/nonexistent",
                                         .ready_timeout = std::chrono::seconds(1),
                                         .say = [](const std::string&) {},
                                         .interrupted = interrupted};
  CHECK_FALSE(Cluster(directory.path(), environment).down());
  CHECK_FALSE(Cluster(directory.path(), environment).start(std::nullopt));
  CHECK_FALSE(Cluster(directory.path() / "none", environment).status());
  const auto up = Cluster(directory.path() / "new", environment).up({});
  REQUIRE_FALSE(up);
  CHECK(up.error().message.find("cosignerd") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(directory.path() / "new"));
}

}  // namespace cosigner::devcluster
