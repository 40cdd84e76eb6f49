#include "worker/zygote/zygote.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "ipc/seqpacket.h"
#include "ipc/worker_exit.h"
#include "worker/zygote/child.h"
#include "worker/zygote/clone_into.h"

namespace cosigner::worker {
namespace {

// One page that the zygote shares with its intermediates: where they leave the worker's pid.
class SharedPid {
 public:
  SharedPid()
      : word_(static_cast<volatile pid_t*>(::mmap(nullptr, sizeof(pid_t), PROT_READ | PROT_WRITE,
                                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {
    if (const_cast<pid_t*>(word_) == MAP_FAILED) {
      throw std::bad_alloc();
    }
  }
  ~SharedPid() { unmap(); }
  SharedPid(const SharedPid&) = delete;
  SharedPid& operator=(const SharedPid&) = delete;
  void set(pid_t pid) { *word_ = pid; }
  [[nodiscard]] pid_t get() const { return *word_; }
  void unmap() { ::munmap(const_cast<pid_t*>(word_), sizeof(pid_t)); }

 private:
  volatile pid_t* word_;
};

// What the worker's own code lets through is a bug of ours: say so and end this process alone.
[[noreturn]] void run_child(const ipc::ForkOrder& order, const ipc::Packet& packet,
                            pid_t supervisor, const ChildMain& child_main) {
  int status = ipc::kExitSoftware;
  try {
    enter_child(order, packet.fd.get(), packet.second.get(), supervisor);
    status = child_main(order, kSocketFd);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cosigner-worker: %s\n", error.what());
  }
  // No destructors of statics, no flushing of what the zygote had buffered.
  ::_exit(status);
}

ipc::ForkResult fork_worker(const ipc::ForkOrder& order, const ipc::Packet& packet,
                            pid_t supervisor, SharedPid& shared, const std::string& cgroup,
                            const ChildMain& child_main) {
  ipc::ForkResult result{.order = order.order, .pid = 0, .error = {}};
  shared.set(0);
  const pid_t intermediate = fork_into(cgroup);
  if (intermediate < 0) {
    result.error = std::string("fork: ") + std::strerror(errno);
    return result;
  }
  if (intermediate == 0) {
    const pid_t worker = ::fork();
    if (worker == 0) {
      shared.unmap();
      run_child(order, packet, supervisor, child_main);
    }
    shared.set(worker > 0 ? worker : -errno);
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(intermediate, &status, 0) < 0 && errno == EINTR) {
  }
  const pid_t outcome = shared.get();
  if (outcome > 0) {
    result.pid = outcome;
  } else {
    result.error = outcome < 0 ? std::string("second fork: ") + std::strerror(-outcome)
                               : std::string("the intermediate process died");
  }
  return result;
}

bool send(int socket, const auto& message) {
  const auto frame = ipc::encode_frame(message, 0);
  return frame && ipc::send_packet(socket, *frame).has_value();
}

}  // namespace

int run_zygote(int socket, const ChildMain& child_main, const std::string& cgroups) {
  const pid_t supervisor = ::getppid();
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGPIPE, SIG_IGN);
  SharedPid shared;
  if (!send(socket, ipc::ZygoteReady{.pid = ::getpid()})) {
    return ipc::kExitSoftware;
  }
  for (;;) {
    auto received = ipc::receive_packet(socket);
    if (!received) {
      std::fprintf(stderr, "cosigner zygote: %s\n", received.error().message.c_str());
      return ipc::kExitSoftware;
    }
    if (received->status == ipc::ReceiveStatus::kEnd) {
      return 0;
    }
    if (received->status == ipc::ReceiveStatus::kWouldBlock) {
      std::fprintf(stderr, "cosigner zygote: the socket must be blocking\n");
      return ipc::kExitSoftware;
    }
    const auto order = ipc::decode<ipc::ForkOrder>(received->packet.frame);
    if (!order || !received->packet.fd) {
      std::fprintf(stderr, "cosigner zygote: an order that is none\n");
      return ipc::kExitSoftware;
    }
    const std::string cgroup =
        cgroups.empty() ? std::string() : cgroups + "/worker-" + std::to_string(order->generation);
    if (!send(socket,
              fork_worker(*order, received->packet, supervisor, shared, cgroup, child_main))) {
      return ipc::kExitSoftware;
    }
  }
}

}  // namespace cosigner::worker
