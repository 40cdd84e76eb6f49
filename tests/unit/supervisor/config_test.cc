// The configuration: what is right is read, every mistake is reported where it is.

#include "supervisor/config/config.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <functional>

#include "ipc/key_file.h"
#include "supervisor/broker/nkey.h"
#include "supervisor/config/cross_check.h"
#include "supervisor/config/host_check.h"
#include "supervisor/config/listen_address.h"

namespace cosigner::supervisor::test {
namespace {

class Files {
 public:
  Files() {
    std::string pattern = (std::filesystem::temp_directory_path() / "cosigner-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    directory = pattern;
    SeededRandom random(1);
    for (const char* name : {"identity.key", "kek.key"}) {
      REQUIRE(create_key_file(directory + "/" + name, random));
    }
    for (const char* name : {"worker.seed", "gateway.seed"}) {
      write(name,
            std::string(broker::Nkey::generate(broker::NkeyKind::kAccount, random).seed_text()) +
                "\n");
      REQUIRE(::chmod((directory + "/" + name).c_str(), 0600) == 0);
    }
    identity = to_hex(load_identity_file(directory + "/identity.key")->public_key().view());
    write("cosigner-worker", "#!/bin/sh\n");
    REQUIRE(::chmod((directory + "/cosigner-worker").c_str(), 0755) == 0);
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
  [[nodiscard]] std::string peers() const {
    return "[[peer]]\nnode = \"node2\"\nidentity = \"" + std::string(64, '2') +
           "\"\n[[peer]]\nnode = \"node1\"\nidentity = \"" + identity + "\"\n";
  }
  static std::string initiators() {
    return "[[initiator]]\nname = \"app\"\npublic_key = \"" + std::string(64, '3') +
           "\"\noperations = [\"sign\"]\nusers = [\"a*\"]\nrequests_per_second = 5\n";
  }
  [[nodiscard]] auto load() const { return load_config(directory + "/cosigner.toml"); }

  std::string directory;
  std::string account;
  std::string identity;
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

// Each is made on this host, outside the text: what the good files say does not fit it.
TEST_CASE("config: what the host says against a configuration has its line and a remedy") {
  struct HostMistake {
    std::function<void(Files&)> make;
    std::uint32_t line;
    std::string says;
  };
  const auto replace = [](Files& files, const std::string& from, const std::string& to) {
    std::string text = files.main();
    text.replace(text.find(from), from.size(), to);
    files.write("cosigner.toml", text);
  };
  const std::vector<HostMistake> mistakes{
      {[](Files& files) { files.write("identity.key", "00\n"); }, 5, "64 hexadecimal digits"},
      {[](Files& files) { files.write("identity.key", std::string(64, '7') + "\n"); }, 5,
       "names another identity"},
      {[](Files& files) { files.write("kek.key", ""); }, 6, "64 hexadecimal digits"},
      {[](Files& files) { files.write("worker.seed", "SUAB\n"); }, 13, "no seed of an account"},
      {[](Files& files) { files.write("gateway.seed", ""); }, 14, "no seed of an account"},
      {[&](Files& files) { replace(files, "\"state\"", "\"kek.key/state\""); }, 3, "no directory"},
      {[&](Files& files) { replace(files, "\"control.sock\"", "\"gone/control.sock\""); }, 4,
       "no directory"},
      {[](Files& files) {
         files.write("cosigner.toml",
                     files.main() + "[control]\nadmin_group = \"no-such-group\"\n");
       },
       20, "no group 'no-such-group'"},
      {[](Files& files) {
         REQUIRE(::mkdir((files.directory + "/state").c_str(), 0777) == 0);
         REQUIRE(::chmod((files.directory + "/state").c_str(), 0777) == 0);
       },
       3, "may write to"},
  };
  for (const HostMistake& mistake : mistakes) {
    Files files;
    mistake.make(files);
    const auto config = check_config(files.directory + "/cosigner.toml");
    INFO("should say: " << mistake.says);
    REQUIRE_FALSE(config);
    REQUIRE(config.error().size() == 1);
    const ConfigProblem& problem = config.error().front();
    INFO(problem.text());
    CHECK(problem.message.find(mistake.says) != std::string::npos);
    CHECK(problem.line == mistake.line);
    CHECK(problem.file == files.directory + "/cosigner.toml");
    CHECK_FALSE(problem.remedy.empty());
    CHECK(problem.text().find('\n') == std::string::npos);
  }
}

TEST_CASE("config: a port in use is a mistake, unless the node itself has it") {
  Files files;
  // The kernel's choice of a port, held by this test.
  auto any = parse_listen_address("127.0.0.1:1");
  REQUIRE(any);
  reinterpret_cast<sockaddr_in*>(&any->address)->sin_port = 0;
  const auto held = listen_on(*any);
  REQUIRE(held);
  sockaddr_in bound{};
  socklen_t size = sizeof bound;
  REQUIRE(::getsockname(held->get(), reinterpret_cast<sockaddr*>(&bound), &size) == 0);
  files.write("cosigner.toml", files.main() + "[metrics]\nlisten = \"127.0.0.1:" +
                                   std::to_string(ntohs(bound.sin_port)) + "\"\n");
  const auto refused = check_config(files.directory + "/cosigner.toml");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().front().line == 20);
  CHECK(refused.error().front().message.find("in use") != std::string::npos);
  // Of a node that reads it again the port is its own, wherever the state directory is to be next;
  // one that it does not have yet is not.
  auto running = load_config(files.directory + "/cosigner.toml");
  REQUIRE(running);
  CHECK(check_config(files.directory + "/cosigner.toml", nullptr, &*running));
  running->metrics.listen = "127.0.0.1:1";
  CHECK_FALSE(check_config(files.directory + "/cosigner.toml", nullptr, &*running));

  REQUIRE(::mkdir((files.directory + "/state").c_str(), 0700) == 0);
  const ipc::UniqueFd lock(
      ::open((files.directory + "/state/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(::flock(lock.get(), LOCK_EX) == 0);
  CHECK(check_config(files.directory + "/cosigner.toml"));
}

TEST_CASE("config: a key file that cannot be read") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can become somebody who may not read a file");
    return;
  }
  const Files files;
  REQUIRE(::chmod(files.directory.c_str(), 0755) == 0);
  REQUIRE(::seteuid(65534) == 0);
  const auto config = files.load();
  REQUIRE(::seteuid(0) == 0);
  REQUIRE_FALSE(config);
  CHECK(config.error().size() == 4);
  for (const ConfigProblem& problem : config.error()) {
    CHECK(problem.message.find("cannot be read") != std::string::npos);
    CHECK(problem.line > 0);
  }
}

TEST_CASE("config: what another user may not look at is no mistake, and no remedy replaces a key") {
  if (::geteuid() != 0) {
    WARN("skipped: only root can become somebody who may not read a file");
    return;
  }
  const Files files;
  REQUIRE(::chmod(files.directory.c_str(), 0755) == 0);
  REQUIRE(::mkdir((files.directory + "/credentials").c_str(), 0700) == 0);
  REQUIRE(::mkdir((files.directory + "/state").c_str(), 0700) == 0);
  std::vector<std::string> untold;
  const auto asked_by_nobody = [&] {
    untold.clear();
    REQUIRE(::seteuid(65534) == 0);
    auto config = check_config(files.directory + "/cosigner.toml", &untold);
    REQUIRE(::seteuid(0) == 0);
    return config;
  };
  const auto good = asked_by_nobody();
  if (!good) {
    FAIL(good.error().front().text());
  }
  CHECK(untold.size() == 5);  // four keys and the state directory
  CHECK(good->workers.idle_timeout_s == 7);

  // As init writes it, of a node that is stopped: the credentials are in a directory of root's.
  std::string text = files.main();
  const auto replace = [&text](const std::string& from, const std::string& to) {
    text.replace(text.find(from), from.size(), to);
  };
  replace("\"kek.key\"", "\"/run/credentials/cosigner-no-such-unit.service/kek.key\"");
  files.write("cosigner.toml", text);
  CHECK(asked_by_nobody());
  CHECK(untold.size() == 5);
  // Root can look: there is none. Nothing tells root to make another in its place.
  const auto missing = check_config(files.directory + "/cosigner.toml");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().front().message.find("is not there") != std::string::npos);
  CHECK(missing.error().front().remedy.find("restore") != std::string::npos);
  CHECK(missing.error().front().remedy.find("systemd-creds") == std::string::npos);
  // The node itself cannot do without.
  replace("/run/credentials/cosigner-no-such-unit.service/kek.key",
          files.directory + "/credentials/kek.key");
  files.write("cosigner.toml", text);
  REQUIRE(::seteuid(65534) == 0);
  const auto node = files.load();
  REQUIRE(::seteuid(0) == 0);
  REQUIRE_FALSE(node);
  CHECK(std::ranges::any_of(node.error(), [](const ConfigProblem& problem) {
    return problem.message.find("cannot be looked at") != std::string::npos;
  }));
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

TEST_CASE(
    "config: as many workers as descriptors suffice for, and a word where more were asked for") {
  const Files files;
  std::string text = files.main();
  text.replace(text.find("idle_timeout_s = 7"), 18, "max_workers = 1000");
  files.write("cosigner.toml", text);
  const auto config = files.load();
  REQUIRE(config);
  const rlim_t needed = descriptors_needed(1000);
  CHECK(needed > 3000);
  const auto fitted = [&](rlim_t allowed) {
    Config one = *config;
    REQUIRE(fit_workers(one, allowed));
    CHECK((one.workers_asked == 0) == missing_workers(one).empty());
    return std::pair(one.workers.max_workers, one.workers_asked);
  };
  CHECK(fitted(needed) == std::pair(1000U, 0U));
  CHECK(fitted(RLIM_INFINITY) == std::pair(1000U, 0U));
  CHECK(fitted(needed - 1) == std::pair(999U, 1000U));
  CHECK(fitted(descriptors_needed(1)) == std::pair(1U, 1000U));

  Config fewer = *config;
  REQUIRE(fit_workers(fewer, needed - 1));
  for (const std::string& said :
       {std::string("999 "), std::string("1000 "), std::to_string(needed)}) {
    CHECK(missing_workers(fewer).find(said) != std::string::npos);
  }
  Config none = *config;
  const auto refused = fit_workers(none, descriptors_needed(1) - 1);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find(std::to_string(descriptors_needed(1) - 1)) !=
        std::string::npos);
  CHECK_FALSE(refused.error().remedy.empty());
}

TEST_CASE("config: the default number of workers is no more than descriptors suffice for") {
  const Files files;
  const auto loaded = files.load();
  REQUIRE(loaded);
  Config config = *loaded;
  REQUIRE(fit_workers(config, descriptors_needed(config.workers.max_workers)));
  CHECK(config.workers.max_workers == WorkerLimits{}.max_workers);
  REQUIRE(fit_workers(config, 4096));
  CHECK(config.workers.max_workers < 4096 / 3);
  CHECK(config.workers.max_workers > 1000);
  CHECK(config.workers_asked == 0);  // nobody has
  CHECK_FALSE(fit_workers(config, 64));
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
