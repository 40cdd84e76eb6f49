// A control socket that systemd hands over, as sd_listen_fds(3) describes it: descriptor 3 and two
// variables. Each case runs in a child, where descriptor 3 is ours to take.

#include "supervisor/control/activation.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace cosigner::supervisor::test {
namespace {

enum Seen : int { kNothing = 0, kTaken = 1, kRefused = 2, kWrong = 3, kBroken = 4 };

int listen_at(const std::string& path, int type) {
  const int fd = ::socket(AF_UNIX, type, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      (type == SOCK_STREAM && ::listen(fd, 8) != 0)) {
    ::_exit(kBroken);
  }
  return fd;
}

/// Whether a process that calls end_activation() leaves a socket that systemd takes for shut down,
/// and on which nobody waits any more.
bool is_closed_for_all(const std::string& path) {
  const int listening = listen_at(path, SOCK_STREAM);
  const pid_t child = ::fork();
  if (child == 0) {
    if (listening != 3 && ::dup2(listening, 3) < 0) {
      ::_exit(kBroken);
    }
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
    ::setenv("LISTEN_FDS", "1", 1);
    end_activation();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  // What systemd polls for, with its own copy of the socket.
  pollfd seen{.fd = listening, .events = POLLIN, .revents = 0};
  const bool shut = ::poll(&seen, 1, 0) == 1 && (seen.revents & POLLHUP) != 0;
  const int caller = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const bool refused =
      ::connect(caller, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno == ECONNREFUSED;
  ::close(caller);
  ::close(listening);
  return status == 0 && shut && refused;
}

/// What take_control_socket(`expected`) says in a child to which a socket at `bound` was passed.
Seen in_child(const std::string& bound, const std::string& expected, int type, int count) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int fd = listen_at(bound, type);
    for (int i = 0; i < std::max(count, 1); ++i) {
      if (fd != 3 + i && ::dup2(fd, 3 + i) < 0) {
        ::_exit(kBroken);
      }
    }
    if (count > 0) {
      ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
      ::setenv("LISTEN_FDS", std::to_string(count).c_str(), 1);
    }
    const auto socket = take_control_socket(expected);
    if (!socket) {
      ::_exit(socket.error().code == ErrorCode::kConflict ? kRefused : kWrong);
    }
    if (!*socket) {
      ::_exit(kNothing);
    }
    const bool good = (*socket)->get() == 3 && (::fcntl(3, F_GETFD) & FD_CLOEXEC) != 0 &&
                      (::fcntl(3, F_GETFL) & O_NONBLOCK) != 0 &&
                      std::getenv("LISTEN_FDS") == nullptr;
    ::_exit(good ? kTaken : kWrong);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  return static_cast<Seen>(WEXITSTATUS(status));
}

TEST_CASE("the control socket that systemd passes") {
  std::string folder = (std::filesystem::temp_directory_path() / "cosigner-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string path = folder + "/control.sock";
  SECTION("is taken, not inherited by children, and never blocks") {
    CHECK(in_child(path, path, SOCK_STREAM, 1) == kTaken);
  }
  SECTION("none is passed") {
    CHECK(in_child(path, path, SOCK_STREAM, 0) == kNothing);
  }
  SECTION("another path than the configuration's is refused") {
    CHECK(in_child(path, path + "2", SOCK_STREAM, 1) == kRefused);
  }
  SECTION("another type of socket is refused") {
    CHECK(in_child(path, path, SOCK_DGRAM, 1) == kRefused);
  }
  SECTION("two are refused") {
    CHECK(in_child(path, path, SOCK_STREAM, 2) == kRefused);
  }
  SECTION("is closed for all by a node that will not start") {
    CHECK(is_closed_for_all(path));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace cosigner::supervisor::test
