// cosigner-worker: one program, three roles. Started with --zygote by cosignerd, it forks gateways
// and workers on order; nobody starts it by hand.

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <exception>

#include "ipc/worker_exit.h"
#include "worker/crash/crash_handler.h"
#include "worker/fault_point.h"
#include "worker/gateway/gateway.h"
#include "worker/sandbox/sandbox.h"
#include "worker/user/throw_trace.h"
#include "worker/user/user_worker.h"
#include "worker/zygote/child.h"
#include "worker/zygote/clone_into.h"
#include "worker/zygote/warm_up.h"
#include "worker/zygote/zygote.h"

namespace {

constexpr int kExitUsage = 64;

constexpr const char* kHelp =
    "usage: cosigner-worker --zygote | --version | --help\n"
    "\n"
    "Part of cosigner. cosignerd starts it with --zygote and a socket as descriptor 3;\n"
    "it forks the gateway and one worker for each active user.\n";

int child_main(const cosigner::ipc::ForkOrder& order, int socket) {
  using namespace cosigner::worker;
  if (order.role == cosigner::ipc::Role::kGateway) {
    return run_gateway(socket, order.generation);
  }
  COSIGNER_FAULT_USER(order.user);
  return run_user_worker(socket, order.generation);
}

// Children inherit the standard descriptors: only stderr leads anywhere.
void close_standard_input_and_output() {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    ::dup2(null, 0);
    ::dup2(null, 1);
    ::close(null);
  }
}

int zygote() {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(cosigner::worker::kSocketFd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
      type != SOCK_SEQPACKET) {
    std::fputs("cosigner-worker: --zygote needs a SOCK_SEQPACKET socket as descriptor 3\n", stderr);
    return kExitUsage;
  }
  struct stat given{};
  if (::fstat(cosigner::worker::kGivenLockFd, &given) == 0 && S_ISREG(given.st_mode)) {
    cosigner::worker::keep_lock(cosigner::worker::kGivenLockFd);
  }
  // Executed by descriptor, whose number would be its name otherwise.
  ::prctl(PR_SET_NAME, "cosigner-worker", 0, 0, 0);
  cosigner::worker::configure_memory();
  close_standard_input_and_output();
  cosigner::worker::warm_up();
  cosigner::worker::prepare_sandbox();
  cosigner::worker::prepare_throw_trace();
  cosigner::worker::prepare_crash_handler();
  return cosigner::worker::run_zygote(cosigner::worker::kSocketFd, child_main,
                                      cosigner::worker::unit_of_zygote());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs(kHelp, stderr);
    return kExitUsage;
  }
  if (std::strcmp(argv[1], "--version") == 0) {
    std::puts("cosigner-worker " COSIGNER_VERSION);
    return 0;
  }
  if (std::strcmp(argv[1], "--help") == 0) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (std::strcmp(argv[1], "--zygote") == 0) {
    cosigner::worker::remember_title_area(argc, argv);
    try {
      return zygote();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "cosigner-worker: %s\n", error.what());
      return cosigner::ipc::kExitSoftware;
    }
  }
  std::fputs(kHelp, stderr);
  return kExitUsage;
}
