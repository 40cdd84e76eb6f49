// The configuration: what is right is read, every mistake is reported where it is.

#include "supervisor/config/config.h"

#include "tests/unit/supervisor/config_files.h"

namespace cosigner::supervisor::test {
namespace {

struct Mistake {
  std::string file;
  std::string from;  ///< replaced in the good file; empty: appended
  std::string to;
  std::uint32_t line;  ///< 0: anywhere
  std::string says;    ///< part of the message
};

}  // namespace

TEST_CASE("config: a good one is read, with defaults and absolute paths") {
  const Files files;
  const auto config = files.load();
  if (!config) {
    FAIL(config.error().front().text());
  }
  CHECK(config->cluster == "demo");
  CHECK(config->state_directory == files.directory + "/state");
  CHECK(config->worker_program == files.directory + "/cosigner-worker");
  CHECK(config->workers.idle_timeout_s == 7);
  CHECK(config->workers.max_workers == 10000);
  CHECK(config->sessions.attempt_timer_ms == 250);
  REQUIRE(config->peers.size() == 2);
  CHECK(config->peers[0].node == "node1");
  REQUIRE(config->initiators.size() == 1);
  CHECK(config->initiators[0].users == std::vector<std::string>{"a*"});
  CHECK(config->initiators[0].requests_per_second == 5);
}

TEST_CASE("config: every mistake is reported with its line and a remedy") {
  const std::vector<Mistake> mistakes{
      {"cosigner.toml", "cluster = \"demo\"", "cluster = 5", 1, "wrong type"},
      {"cosigner.toml", "cluster = \"demo\"", "cluster = \"De mo\"", 1, "no cluster name"},
      {"cosigner.toml", "node = \"node1\"", "node = \"all\"", 2, "no node name"},
      {"cosigner.toml", "node = \"node1\"", "nod = \"node1\"", 2, "unknown key 'nod'"},
      {"cosigner.toml", "node = \"node1\"", "", 0, "'node' is missing"},
      {"cosigner.toml", "node = \"node1\"", "node = \"node1", 0, ""},
      {"cosigner.toml", "\"control.sock\"", "\"" + std::string(120, 'x') + "\"", 4, "too long"},
      {"cosigner.toml", "\"identity.key\"", "\"gone.key\"", 5, "cannot be found"},
      {"cosigner.toml", "\"identity.key\"", "\"peers.toml\"", 5, "read or written by others"},
      {"cosigner.toml", "\"kek.key\"", "\".\"", 6, "no regular file"},
      {"cosigner.toml", "\"cosigner-worker\"", "\"peers.toml\"", 9, "no program"},
      {"cosigner.toml", "nats://", "http://", 11, "broker.url"},
      {"cosigner.toml", "account = \"A", "account = \"B", 12, "account"},
      {"cosigner.toml", "idle_timeout_s = 7", "idle_timeout_s = \"7\"", 16, "wrong type"},
      {"cosigner.toml", "idle_timeout_s = 7", "idle_timeout_s = 0", 16, "is 0"},
      {"cosigner.toml", "idle_timeout_s = 7", "idle_timeout_s = -1", 16, "is -1"},
      {"cosigner.toml", "idle_timeout_s = 7", "idle_timeout = 7", 16, "unknown key"},
      {"cosigner.toml", "attempt_timer_ms = 250", "presence_timeout_ms = 100", 18, "not longer"},
      {"cosigner.toml", "attempt_timer_ms = 250",
       "presence_interval_ms = 15000\npresence_timeout_ms = 45000", 18,
       "a gateway silent for 10000"},
      {"cosigner.toml", "attempt_timer_ms = 250", "heartbeat_ms = 1001", 18, "is 1001"},
      {"cosigner.toml", "idle_timeout_s = 7", "unresponsive_s = 1", 16, "a worker silent for 1000"},
      {"cosigner.toml", "idle_timeout_s = 7", "mailbox_bytes = 12582912", 16, "sent at once"},
      {"cosigner.toml", "idle_timeout_s = 7", "mailbox_entries = 4096", 16, "sent at once"},
      {"cosigner.toml", "", "[log]\nlevel = \"loud\"\n", 20, "log.level"},
      {"cosigner.toml", "[broker]", "[broken]", 0, "'broker' is missing"},
      {"peers.toml", "node = \"node2\"", "node = \"node1\"", 5, "listed twice"},
      {"peers.toml", "identity = \"" + std::string(64, '2'), "identity = \"@", 6,
       "share an identity"},
      {"peers.toml", std::string(64, '2'), "22", 3, "no Ed25519 public key"},
      {"peers.toml", "node = \"node1\"", "node = \"node7\"", 1, "not among the peers"},
      {"peers.toml", "[[peer]]\nnode = \"node2\"\nidentity = \"" + std::string(64, '2') + "\"\n",
       "", 1, "only peer"},
      {"peers.toml", "", "[[former]]\nnode = \"node9\"\nidentity = \"99\"\n", 9,
       "no Ed25519 public key"},
      {"peers.toml", "", "[[former]]\nname = \"node9\"\n", 0, "unknown key 'former.name'"},
      {"cosigner.toml", "nats://127.0.0.1:4222", "nats://127.0.0.1:99999", 11, "broker.url"},
      {"cosigner.toml", "nats://127.0.0.1:4222", "nats://:4222", 11, "broker.url"},
      {"cosigner.toml", "cluster = \"demo\"", "cluster = \"demo\"\ndefault_threshold = 3", 2,
       "the cluster has 2 nodes"},
      {"cosigner.toml", "cluster = \"demo\"", "cluster = \"demo\"\ndefault_threshold = 1", 2,
       "is 1"},
      {"cosigner.toml", "", "[metrics]\nlisten = \"0.0.0.0:9464\"\n", 20, "metrics.listen"},
      {"cosigner.toml", "", "[metrics]\nlisten = \"127.0.0.1\"\n", 20, "metrics.listen"},
      {"cosigner.toml", "\"kek.key\"", "\"/run/credentials/no.service/kek\"", 6, "the credential"},
      {"initiators.toml", "\"sign\"", "\"sing\"", 4, "unknown operation"},
      {"initiators.toml", "\"a*\"", "\"a*b\"", 5, "matches no user"},
      {"initiators.toml", "[\"a*\"]", "[]", 5, "wrong type"},
      {"initiators.toml", "name = \"app\"", "name = \"\"", 2, "is empty"},
      {"initiators.toml", "",
       "[[initiator]]\nname = \"app\"\npublic_key = \"" + std::string(64, '4') +
           "\"\noperations = [\"sign\"]\nusers = [\"b*\"]\n",
       8, "two initiators are called 'app'"},
  };
  for (const Mistake& mistake : mistakes) {
    const Files files;
    std::string text = mistake.file == "cosigner.toml" ? files.main()
                       : mistake.file == "peers.toml"  ? files.peers()
                                                       : Files::initiators();
    if (mistake.from.empty()) {
      text += mistake.to;
    } else {
      const auto place = text.find(mistake.from);
      REQUIRE(place != std::string::npos);
      std::string to = mistake.to;
      if (const auto own = to.find('@'); own != std::string::npos) {
        to.replace(own, 1, files.identity);
        text.replace(place, mistake.from.size(), to);
      } else {
        text.replace(place, mistake.from.size(), to);
      }
    }
    files.write(mistake.file, text);
    const auto config = files.load();
    INFO(mistake.file << ": " << mistake.to << " should say: " << mistake.says);
    REQUIRE_FALSE(config);
    bool reported = false;
    for (const ConfigProblem& problem : config.error()) {
      INFO(problem.text());
      CHECK_FALSE(problem.remedy.empty());
      reported = reported || (problem.message.find(mistake.says) != std::string::npos &&
                              (mistake.line == 0 || problem.line == mistake.line) &&
                              problem.file.find(mistake.file) != std::string::npos);
      UNSCOPED_INFO(problem.text());
    }
    CHECK(reported);
  }
}

TEST_CASE("config: a former peer is no peer, and no mistake") {
  const Files files;
  files.write("peers.toml", files.peers() + "[[former]]\nnode = \"node9\"\nidentity = \"" +
                                std::string(64, '9') + "\"\n");
  const auto config = files.load();
  REQUIRE(config);
  CHECK(config->peers.size() == 2);
}

TEST_CASE("config: the slowest signs of life and the largest mailbox that work are taken") {
  const Files files;
  std::string text = files.main();
  text.replace(text.find("idle_timeout_s = 7"), 18, "mailbox_bytes = 12000000\nunresponsive_s = 3");
  text.replace(text.find("attempt_timer_ms = 250"), 22,
               "heartbeat_ms = 1000\npresence_interval_ms = 1000");
  files.write("cosigner.toml", text);
  const auto config = files.load();
  if (!config) {
    FAIL(config.error().front().text());
  }
  CHECK(config->sessions.heartbeat_ms == 1000);
}

TEST_CASE("config: everybody may write to the list of peers") {
  const Files files;
  REQUIRE(::chmod((files.directory + "/peers.toml").c_str(), 0666) == 0);
  const auto config = files.load();
  REQUIRE_FALSE(config);
  CHECK(config.error().front().message.find("may write") != std::string::npos);
}

TEST_CASE("config: several mistakes are reported at once") {
  const Files files;
  files.write("cosigner.toml", files.main() + "surprise = 1\n[log]\nformat = \"xml\"\n");
  files.write("peers.toml", "peer = 3\n");
  const auto config = files.load();
  REQUIRE_FALSE(config);
  CHECK(config.error().size() >= 3);
}

TEST_CASE("config: a file that is not there") {
  const auto config = load_config("/nonexistent/cosigner.toml");
  REQUIRE_FALSE(config);
  CHECK_FALSE(config.error().front().remedy.empty());
}

}  // namespace cosigner::supervisor::test
