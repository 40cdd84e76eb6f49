// The configuration: what is right is read, every mistake is reported where it is.

#include "supervisor/config/config.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "supervisor/broker/nkey.h"

namespace cosigner::supervisor::test {
namespace {

class Files {
 public:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cosigner-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory = pattern;
    for (const char* name : {"identity.key", "kek.key", "worker.seed", "gateway.seed"}) {
      write(name, "00\n");
      REQUIRE(::chmod((directory + "/" + name).c_str(), 0600) == 0);
    }
    write("cosigner-worker", "#!/bin/sh\n");
    REQUIRE(::chmod((directory + "/cosigner-worker").c_str(), 0755) == 0);
    SeededRandom random(1);
    account = broker::Nkey::generate(broker::NkeyKind::kAccount, random).public_text();
    write("cosigner.toml", main());
    write("peers.toml", peers());
    write("initiators.toml", initiators());
  }
  ~Files() { std::filesystem::remove_all(directory); }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(directory + "/" + name) << text;
  }
  [[nodiscard]] std::string main() const {
    return "cluster = \"demo\"\n"                     // 1
           "node = \"node1\"\n"                       // 2
           "state_directory = \"state\"\n"            // 3
           "control_socket = \"control.sock\"\n"      // 4
           "identity_key_file = \"identity.key\"\n"   // 5
           "key_encryption_key_file = \"kek.key\"\n"  // 6
           "peers_file = \"peers.toml\"\n"            // 7
           "initiators_file = \"initiators.toml\"\n"  // 8
           "worker_program = \"cosigner-worker\"\n"   // 9
           "[broker]\n"                               // 10
           "url = \"nats://127.0.0.1:4222\"\n"        // 11
           "account = \"" +
           account +
           "\"\n"                                           // 12
           "worker_signing_key_file = \"worker.seed\"\n"    // 13
           "gateway_signing_key_file = \"gateway.seed\"\n"  // 14
           "[workers]\n"                                    // 15
           "idle_timeout_s = 7\n"                           // 16
           "[sessions]\n"                                   // 17
           "attempt_timer_ms = 250\n";                      // 18
  }
  static std::string peers() {
    return "[[peer]]\nnode = \"node2\"\nidentity = \"" + std::string(64, '2') +
           "\"\n[[peer]]\nnode = \"node1\"\nidentity = \"" + std::string(64, '1') + "\"\n";
  }
  static std::string initiators() {
    return "[[initiator]]\nname = \"app\"\npublic_key = \"" + std::string(64, '3') +
           "\"\noperations = [\"sign\"]\nusers = [\"a*\"]\nrequests_per_second = 5\n";
  }
  [[nodiscard]] auto load() const { return load_config(directory + "/cosigner.toml"); }

  std::string directory;
  std::string account;
};

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
      {"cosigner.toml", "", "[log]\nlevel = \"loud\"\n", 20, "log.level"},
      {"cosigner.toml", "[broker]", "[broken]", 0, "'broker' is missing"},
      {"peers.toml", "node = \"node2\"", "node = \"node1\"", 5, "listed twice"},
      {"peers.toml", std::string(64, '2'), std::string(64, '1'), 6, "share an identity"},
      {"peers.toml", std::string(64, '2'), "22", 3, "no Ed25519 public key"},
      {"peers.toml", "node = \"node1\"", "node = \"node7\"", 0, "not among the peers"},
      {"initiators.toml", "\"sign\"", "\"sing\"", 4, "unknown operation"},
      {"initiators.toml", "\"a*\"", "\"a*b\"", 5, "matches no user"},
      {"initiators.toml", "[\"a*\"]", "[]", 5, "wrong type"},
      {"initiators.toml", "name = \"app\"", "name = \"\"", 2, "is empty"},
  };
  for (const Mistake& mistake : mistakes) {
    const Files files;
    std::string text = mistake.file == "cosigner.toml" ? files.main()
                       : mistake.file == "peers.toml"  ? Files::peers()
                                                       : Files::initiators();
    if (mistake.from.empty()) {
      text += mistake.to;
    } else {
      const auto place = text.find(mistake.from);
      REQUIRE(place != std::string::npos);
      text.replace(place, mistake.from.size(), mistake.to);
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
