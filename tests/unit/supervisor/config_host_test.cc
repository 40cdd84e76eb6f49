// A configuration and the host it is for: key files, ports, users, descriptors.

#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "supervisor/config/cross_check.h"
#include "supervisor/config/host_check.h"
#include "supervisor/config/listen_address.h"
#include "tests/unit/supervisor/config_files.h"

namespace cosigner::supervisor::test {

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

}  // namespace cosigner::supervisor::test
