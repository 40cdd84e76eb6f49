// The control socket and the users of the machine: who may ask, and how much of it one may take.

#include <grp.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "supervisor/control/peer_rights.h"
#include "tests/unit/supervisor/control_fixture.h"

using namespace cosigner;
using namespace cosigner::supervisor;
using namespace cosigner::supervisor::test;

namespace {

/// This process is another user for a moment.
class Borrowed {
 public:
  explicit Borrowed(uid_t uid) { REQUIRE((::setegid(uid) == 0 && ::seteuid(uid) == 0)); }
  ~Borrowed() { CHECK((::seteuid(0) == 0 && ::setegid(0) == 0)); }
  Borrowed(const Borrowed&) = delete;
  Borrowed& operator=(const Borrowed&) = delete;
};

}  // namespace

TEST_CASE("control socket: one user of the machine cannot take all connections") {
  if (::geteuid() != 0) {
    WARN("skipped: becoming another user needs root");
    return;
  }
  ControlServer::Limits limits;
  limits.connections = 20;
  limits.connections_kept = 2;
  limits.connections_per_uid = 4;
  Server node(limits);
  // As its groups would allow.
  REQUIRE(::chmod(node.path().c_str(), 0666) == 0);
  std::filesystem::permissions(node.directory, std::filesystem::perms::all);
  int hold[2];
  REQUIRE(::pipe(hold) == 0);
  const pid_t stranger = ::fork();
  if (stranger == 0) {
    ::close(hold[1]);
    std::vector<Client> clients;
    if (::setgid(65534) == 0 && ::setuid(65534) == 0) {
      for (int i = 0; i < 20; ++i) {
        clients.emplace_back(node.path());
      }
    }
    char byte = 0;
    const bool told = ::read(hold[0], &byte, 1) >= 0;
    ::_exit(told ? 0 : 1);
  }
  ::close(hold[0]);
  node.until([&] { return node.server->connections() == 4; });
  for (int i = 0; i < 100; ++i) {
    uv_run(&node.loop, UV_RUN_NOWAIT);
  }
  CHECK(node.server->connections() == 4);
  node.serves_others();
  ::close(hold[1]);
  int status = 0;
  ::waitpid(stranger, &status, 0);
  node.until([&] { return node.server->connections() == 0; });
}

TEST_CASE(
    "control socket: who has no rights hears so once, is bounded in everything, and locks nobody "
    "out") {
  if (::geteuid() != 0) {
    WARN("skipped: becoming another user needs root");
    return;
  }
  ControlServer::Limits limits;
  limits.connections = 12;
  limits.connections_kept = 4;
  limits.connections_of_strangers = 3;
  Server node(limits);
  REQUIRE(::chmod(node.path().c_str(), 0666) == 0);
  std::filesystem::permissions(node.directory, std::filesystem::perms::all);
  const auto connect_as = [&](uid_t uid) {
    const Borrowed identity(uid);  // the kernel notes it at connect(2)
    return Client(node.path());
  };
  SECTION("one answer, then the end") {
    Client stranger = connect_as(kStranger);
    stranger.write(call_of(1, "ping"));
    stranger.write(call_of(2, "ping"));
    node.until([&] { return stranger.hung_up_on(); });
    stranger.read();
    CHECK(stranger.replies().size() == 1);
    CHECK(node.served == 1);
  }
  SECTION("no large frame") {
    Client stranger = connect_as(kStranger);
    stranger.write(ByteVector{0x00, 0x00, 0x20, 0x00});  // 8 KiB to follow
    node.until([&] { return stranger.hung_up_on(); });
    CHECK(node.served == 0);
  }
  SECTION("few at once, whoever they are") {
    std::vector<Client> strangers;
    for (int i = 0; i < 10; ++i) {
      strangers.push_back(connect_as(kStranger));
    }
    node.until([&] { return strangers.back().hung_up_on(); });
    CHECK(node.server->connections() == 3);
    node.serves_others();
  }
  SECTION("users with rights leave room for root") {
    std::vector<Client> users;
    for (uid_t uid = 60001; uid <= 60012; ++uid) {
      users.push_back(connect_as(uid));
    }
    node.until([&] { return users.back().hung_up_on(); });
    CHECK(node.server->connections() == 8);
    node.serves_others();
  }
}

TEST_CASE("control socket: rights come with the groups that a peer had when it connected") {
  if (::geteuid() != 0) {
    WARN("skipped: becoming another user needs root");
    return;
  }
  const PeerRights rights("daemon", "bin");  // groups that every Debian has
  const gid_t admin = ::getgrnam("daemon")->gr_gid;
  const gid_t view = ::getgrnam("bin")->gr_gid;
  CHECK(rights.of({.uid = 0}) == Rights::kAdmin);
  CHECK(rights.of({.uid = 5000, .gid = 5000}) == Rights::kNone);
  CHECK(rights.of({.uid = 5000, .gid = admin}) == Rights::kAdmin);
  CHECK(rights.of({.uid = 5000, .gid = 5000, .groups = {7, admin}}) == Rights::kAdmin);
  CHECK(rights.of({.uid = 5000, .gid = view}) == Rights::kView);
  CHECK(rights.of({.uid = 5000, .gid = 5000, .groups = {view, admin}}) == Rights::kAdmin);
  CHECK(PeerRights("", "").of({.uid = 5000, .gid = 0}) == Rights::kNone);
  CHECK(PeerRights("no-such-group", "").of({.uid = 5000, .gid = 5000}) == Rights::kNone);

  std::optional<ControlPeer> seen;
  uv_loop_t loop;
  uv_loop_init(&loop);
  const auto directory =
      std::filesystem::temp_directory_path() / ("cosigner-rights-" + std::to_string(::getpid()));
  std::filesystem::create_directories(directory);
  std::filesystem::permissions(directory, std::filesystem::perms::all);
  {
    const auto server = ControlServer::listen(
        &loop, directory / "s", [](auto) {},
        [&](const ControlPeer& peer) {
          seen = peer;
          return true;
        },
        {});
    REQUIRE(server);
    REQUIRE(::chmod((directory / "s").c_str(), 0666) == 0);
    const Client client = [&] {
      const gid_t groups[] = {view, 4711};
      REQUIRE(::setgroups(2, groups) == 0);
      const Borrowed identity(60001);
      return Client(directory / "s");
    }();
    REQUIRE(::setgroups(0, nullptr) == 0);
    REQUIRE(client.connected());
    while (!seen) {
      uv_run(&loop, UV_RUN_ONCE);
    }
    CHECK(seen->uid == 60001);
    CHECK(rights.of(*seen) == Rights::kView);
  }
  while (uv_run(&loop, UV_RUN_NOWAIT) != 0) {
  }
  CHECK(uv_loop_close(&loop) == 0);
  std::filesystem::remove_all(directory);
}
