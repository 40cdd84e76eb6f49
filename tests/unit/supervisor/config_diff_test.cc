// What a reload applies and what it leaves for a restart.

#include "supervisor/config/config_diff.h"

#include <catch2/catch.hpp>
#include <fstream>
#include <map>
#include <regex>
#include <set>

namespace cosigner::supervisor::test {
namespace {

using Names = std::vector<std::string>;

Ed25519PublicKey key_of(std::uint8_t filler) {
  Ed25519PublicKey key;
  key.data.fill(filler);
  return key;
}

Config running() {
  Config config;
  config.cluster = "demo";
  config.node = "node1";
  config.peers = {{"node1", key_of(1)}, {"node2", key_of(2)}};
  config.initiators = {{"app", key_of(9), {"sign"}, {"*"}, 0}};
  return config;
}

/// "table.key" of every key in the default file, commented out or not.
std::set<std::string> keys_of_the_default_file() {
  std::ifstream file(std::string(COSIGNER_SOURCE_DIR) + "/packaging/config/cosigner.toml");
  REQUIRE(file.is_open());
  std::set<std::string> keys;
  std::string table;
  for (std::string line; std::getline(file, line);) {
    std::smatch found;
    if (std::regex_match(line, found, std::regex(R"(\[([a-z_]+)\].*)"))) {
      table = found[1].str() + ".";
    } else if (std::regex_match(line, found, std::regex(R"((?:# )?([a-z_]+) = .*)"))) {
      keys.insert(table + found[1].str());
    }
  }
  return keys;
}

TEST_CASE("every key of the default file is compared, and nothing else") {
  const auto compared = compared_keys();
  CHECK(std::set<std::string>(compared.begin(), compared.end()) == keys_of_the_default_file());
  CHECK(std::set(compared.begin(), compared.end()).size() == compared.size());
}

TEST_CASE("the same configuration differs in nothing") {
  CHECK(compare_configs(running(), running()) == ConfigDifference{});
}

TEST_CASE("log, limits, timings and groups change live") {
  Config wanted = running();
  wanted.log_level = LogLevel::kDebug;
  wanted.workers.max_workers = 7;
  wanted.sessions.attempt_timer_ms = 111;
  wanted.control.admin = "wheel";
  const ConfigDifference difference = compare_configs(running(), wanted);
  CHECK(difference.live == Names{"control.admin_group", "workers.max_workers",
                                 "sessions.attempt_timer_ms", "log.level"});
  CHECK(difference.restart.empty());
  const Config after = with_live_changes(running(), wanted);
  CHECK(compare_configs(after, wanted) == ConfigDifference{});
}

TEST_CASE("what the node is needs a restart, and is not taken over") {
  Config wanted = running();
  wanted.state_directory = "/elsewhere";
  wanted.broker.url = "nats://127.0.0.1:1";
  wanted.workers.tick_s = 3;
  const ConfigDifference difference = compare_configs(running(), wanted);
  CHECK(difference.live == Names{"workers.tick_s"});
  CHECK(difference.restart == Names{"state_directory", "broker.url"});
  const Config after = with_live_changes(running(), wanted);
  CHECK(after.state_directory == running().state_directory);
  CHECK(after.broker.url == running().broker.url);
  CHECK(after.workers.tick_s == 3);
}

TEST_CASE("peers come, go and change their identity live") {
  Config wanted = running();
  wanted.peers = {{"node1", key_of(1)}, {"node3", key_of(3)}};
  CHECK(compare_configs(running(), wanted).live == Names{"peers: node3 added, node2 removed"});
  CHECK(with_live_changes(running(), wanted).peers.at(1).node == "node3");
  wanted.peers = {{"node1", key_of(1)}, {"node2", key_of(22)}};
  CHECK(compare_configs(running(), wanted).live == Names{"peers: node2 changed"});
}

TEST_CASE("another identity of this node itself needs a restart") {
  Config wanted = running();
  wanted.peers.at(0).identity = key_of(11);
  const ConfigDifference difference = compare_configs(running(), wanted);
  CHECK(difference.live.empty());
  CHECK(difference.restart == Names{"peers: node1 changed"});
  CHECK(with_live_changes(running(), wanted).peers.at(0).identity == key_of(1));
}

TEST_CASE("every field of an initiator counts") {
  for (int field = 0; field < 4; ++field) {
    Config wanted = running();
    ipc::Initiator& app = wanted.initiators.at(0);
    switch (field) {
      case 0:
        app.key = key_of(10);
        break;
      case 1:
        app.operations = {"*"};
        break;
      case 2:
        app.users = {"a*"};
        break;
      default:
        app.requests_per_second = 1;
    }
    INFO("field " << field);
    CHECK(compare_configs(running(), wanted).live == Names{"initiators: app changed"});
  }
  Config wanted = running();
  wanted.initiators.at(0).name = "other";
  CHECK(compare_configs(running(), wanted).live == Names{"initiators: other added, app removed"});
}

}  // namespace
}  // namespace cosigner::supervisor::test
