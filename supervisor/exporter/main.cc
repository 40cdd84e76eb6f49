// cosigner-exporter: serves a node's metrics over HTTP. Started by cosignerd, with the supervisor's
// socket as descriptor 3 and a listening socket as descriptor 4; of no use by itself. One thread,
// no file, no socket of its own making, nothing secret in its memory.

#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <string_view>

#include "supervisor/exporter/filter.h"
#include "supervisor/exporter/snapshot_source.h"

namespace cosigner::exporter {
namespace {

constexpr int kSupervisor = 3;
constexpr int kListener = 4;
constexpr int kExitUsage = 2;
constexpr int kExitSoftware = 70;

// Scrapers come one at a time; what is beyond waits in the listener's queue.
constexpr unsigned kMaxConnections = 32;
constexpr unsigned kIdleSeconds = 10;
constexpr std::size_t kConnectionBytes = 32U << 10;
constexpr rlim_t kMaxDataBytes = rlim_t{128} << 20;

struct Reply {
  unsigned status = MHD_HTTP_OK;
  std::string body;
  const char* type = "text/plain; charset=utf-8";
};

Reply no_supervisor() {
  return {MHD_HTTP_SERVICE_UNAVAILABLE, "the supervisor does not answer\n"};
}

Reply answer(SnapshotSource& source, std::string_view method, std::string_view path) {
  if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD) {
    return {MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n"};
  }
  if (path == "/metrics") {
    const auto* snapshot = source.get(true);
    return snapshot == nullptr
               ? no_supervisor()
               : Reply{MHD_HTTP_OK, std::string(snapshot->text.begin(), snapshot->text.end()),
                       "text/plain; version=0.0.4; charset=utf-8"};
  }
  if (path == "/live") {
    return source.get(false) == nullptr ? no_supervisor() : Reply{MHD_HTTP_OK, "alive\n"};
  }
  if (path == "/ready") {
    const auto* snapshot = source.get(false);
    if (snapshot == nullptr) {
      return no_supervisor();
    }
    return snapshot->ready ? Reply{MHD_HTTP_OK, "ready\n"}
                           : Reply{MHD_HTTP_SERVICE_UNAVAILABLE, snapshot->why + "\n"};
  }
  return {MHD_HTTP_NOT_FOUND, "/metrics, /live or /ready\n"};
}

struct FreeResponse {
  void operator()(MHD_Response* response) const { MHD_destroy_response(response); }
};

MHD_Result on_request(void* closure, MHD_Connection* connection, const char* path,
                      const char* method, const char*, const char*, std::size_t* body_size,
                      void** state) {
  static int headers_seen;
  if (*state == nullptr) {
    *state = &headers_seen;
    return MHD_YES;
  }
  if (*body_size > 0) {
    *body_size = 0;  // whatever comes with a GET is not wanted
    return MHD_YES;
  }
  try {
    const Reply reply = answer(*static_cast<SnapshotSource*>(closure), method, path);
    const std::unique_ptr<MHD_Response, FreeResponse> response(MHD_create_response_from_buffer(
        reply.body.size(), const_cast<char*>(reply.body.data()), MHD_RESPMEM_MUST_COPY));
    if (response == nullptr) {
      return MHD_NO;
    }
    MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CONTENT_TYPE, reply.type);
    MHD_add_response_header(response.get(), MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    return MHD_queue_response(connection, reply.status, response.get());
  } catch (const std::exception&) {
    return MHD_NO;  // out of memory: this connection ends
  }
}

bool give_up_rights() {
  const rlimit no_core{0, 0};
  const rlimit data{kMaxDataBytes, kMaxDataBytes};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::setrlimit(RLIMIT_DATA, &data);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);  // a terminal's Ctrl-C is the supervisor's business
  return ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) == 0 &&
         ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0 && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
}

struct StopDaemon {
  void operator()(MHD_Daemon* daemon) const { MHD_stop_daemon(daemon); }
};

int serve() {
  if (!give_up_rights()) {
    std::perror("cosigner-exporter: prctl");
    return kExitSoftware;
  }
  SnapshotSource source{ipc::UniqueFd(kSupervisor)};
  const std::unique_ptr<MHD_Daemon, StopDaemon> daemon(MHD_start_daemon(
      MHD_USE_EPOLL, 0, nullptr, nullptr, on_request, &source, MHD_OPTION_LISTEN_SOCKET, kListener,
      MHD_OPTION_CONNECTION_LIMIT, kMaxConnections, MHD_OPTION_CONNECTION_TIMEOUT, kIdleSeconds,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, kConnectionBytes, MHD_OPTION_END));
  if (daemon == nullptr) {
    std::fputs("cosigner-exporter: the HTTP server cannot start\n", stderr);
    return kExitSoftware;
  }
  const MHD_DaemonInfo* info = MHD_get_daemon_info(daemon.get(), MHD_DAEMON_INFO_EPOLL_FD);
  if (info == nullptr) {
    return kExitSoftware;
  }
  ::tzset();  // the Date of each reply: the C library reads its time zone once, from a file
  if (const auto walled = enter_filter(); !walled) {
    std::fprintf(stderr, "cosigner-exporter: %s\n", walled.error().message.c_str());
    return kExitSoftware;
  }
  while (!source.ended()) {
    pollfd ready[] = {{.fd = source.descriptor(), .events = POLLIN, .revents = 0},
                      {.fd = info->epoll_fd, .events = POLLIN, .revents = 0}};
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    const bool timed = MHD_get_timeout(daemon.get(), &wait_ms) == MHD_YES;
    ::poll(ready, std::size(ready), timed ? static_cast<int>(wait_ms) : -1);
    if (ready[0].revents != 0) {
      source.read_idle();
    }
    MHD_run(daemon.get());
  }
  ::_exit(0);  // the supervisor is gone; destructors have nothing to save
}

}  // namespace
}  // namespace cosigner::exporter

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
    std::puts("cosigner-exporter " COSIGNER_VERSION);
    return 0;
  }
  if (argc != 1 || ::fcntl(3, F_GETFD) < 0 || ::fcntl(4, F_GETFD) < 0) {
    std::fputs("cosigner-exporter is started by cosignerd, see cosigner.toml(5), [metrics]\n",
               stderr);
    return cosigner::exporter::kExitUsage;
  }
  return cosigner::exporter::serve();
}
