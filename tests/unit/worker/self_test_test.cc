// The zygote and a libsodium that computes wrongly.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "ipc/seqpacket.h"
#include "ipc/worker_exit.h"

using namespace cosigner;

namespace {

struct Ended {
  int status = 0;
  std::string said;        ///< on stderr
  bool announced = false;  ///< it said that it was ready
};

/// Starts the real program as a zygote, with `preload` if it is not empty, and lets it go at once.
Ended run_zygote(const std::string& preload) {
  const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  const std::string program = folder / "cosigner-worker";
  auto pair = ipc::socket_pair(SOCK_SEQPACKET);
  int errors[2];
  REQUIRE(pair);
  REQUIRE(::pipe2(errors, O_CLOEXEC) == 0);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(pair->second.get(), 3);
    ::dup2(errors[1], 2);
    if (!preload.empty()) {
      ::setenv("LD_PRELOAD", (folder / preload).c_str(), 1);
    }
    ::execl(program.c_str(), "cosigner-worker", "--zygote", nullptr);
    ::_exit(127);
  }
  pair->second.reset();
  ::close(errors[1]);
  Ended out;
  const auto received = ipc::receive_packet(pair->first.get());
  out.announced = received && received->status == ipc::ReceiveStatus::kPacket;
  pair->first.reset();
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(errors[0], buffer, sizeof buffer)) > 0;) {
    out.said.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(errors[0]);
  ::waitpid(pid, &out.status, 0);
  return out;
}

}  // namespace

TEST_CASE("a zygote whose libsodium computes rightly starts") {
  const Ended fine = run_zygote({});
  CHECK(fine.announced);
  CHECK(WEXITSTATUS(fine.status) == 0);
  CHECK(fine.said.empty());
}

#ifndef COSIGNER_SANITIZED  // ASan wants to be the first library
TEST_CASE("a zygote whose libsodium takes points of mixed order refuses to start and says why") {
  const Ended refused = run_zygote("lying-sodium.so");
  CHECK_FALSE(refused.announced);
  CHECK(WIFEXITED(refused.status));
  CHECK(WEXITSTATUS(refused.status) == ipc::kExitSelfTest);
  CHECK(refused.said.find("self-test failed: libsodium") != std::string::npos);
  CHECK(refused.said.find("accepts as valid: identity") != std::string::npos);
}
#endif
