#include "supervisor/devcluster/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

namespace cosigner::devcluster {
namespace {

/// Owns a descriptor.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }
  void reset() {
    if (fd_ >= 0) {
      ::close(std::exchange(fd_, -1));
    }
  }

 private:
  int fd_;
};

struct Stat {
  char state = '?';
  std::uint64_t start_time = 0;
};

std::optional<Stat> read_stat(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  if (!std::getline(file, text)) {
    return std::nullopt;
  }
  // The name in parentheses may hold anything, so the fields are counted from the last ')'.
  const std::size_t close = text.rfind(')');
  if (close == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(text.substr(close + 1));
  Stat stat;
  fields >> stat.state;  // field 3
  std::string skipped;
  for (int field = 4; field < 22; ++field) {
    fields >> skipped;
  }
  fields >> stat.start_time;
  return fields ? std::optional(stat) : std::nullopt;
}

/// A descriptor of exactly this process: opened first, then compared, so that the pid cannot change
/// hands in between.
std::optional<Descriptor> open_process(const ProcessIdentity& process) {
  if (process.pid <= 0) {
    return std::nullopt;
  }
  Descriptor fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  if (fd.get() < 0) {
    return std::nullopt;
  }
  const auto stat = read_stat(process.pid);
  if (!stat || stat->start_time != process.start_time || stat->state == 'Z') {
    return std::nullopt;
  }
  return fd;
}

bool signal_descriptor(const Descriptor& fd, int signal) {
  return ::syscall(SYS_pidfd_send_signal, fd.get(), signal, nullptr, 0) == 0;
}

/// Waits until every process is gone or the time is over; drops those that are gone.
void wait_gone(std::vector<std::pair<ProcessIdentity, Descriptor>>& processes,
               std::chrono::milliseconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!processes.empty()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    if (left.count() <= 0) {
      return;
    }
    pollfd poll_fd{processes.back().second.get(), POLLIN, 0};
    const int ready = ::poll(&poll_fd, 1, static_cast<int>(left.count()));
    if (ready > 0) {
      processes.pop_back();  // a pidfd is readable once its process has ended
    } else if (ready == 0) {
      std::erase_if(processes, [](const auto& entry) { return !is_running(entry.first); });
      return;
    } else if (errno != EINTR) {
      return;
    }
  }
}

[[noreturn]] void report_and_exit(int pipe) {
  const int error = errno;
  [[maybe_unused]] const auto written = ::write(pipe, &error, sizeof error);
  ::_exit(127);
}

}  // namespace

Expected<ProcessIdentity> launch(const LaunchOptions& options) {
  // Everything that allocates happens before the fork.
  std::vector<char*> arguments;
  for (const std::string& argument : options.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return fail(ErrorCode::kInternal, std::string("pipe: ") + std::strerror(errno));
  }
  const Descriptor read_end(ends[0]);
  Descriptor write_end(ends[1]);

  const int pid = ::fork();
  if (pid < 0) {
    return fail(ErrorCode::kInternal, std::string("fork: ") + std::strerror(errno));
  }
  if (pid == 0) {
    ::setsid();
    const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const int log =
        ::open(options.log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
    if (null < 0 || log < 0 || ::dup2(null, 0) < 0 || ::dup2(log, 1) < 0 || ::dup2(log, 2) < 0) {
      report_and_exit(write_end.get());
    }
    constexpr unsigned kCloseOnExec = 4;  // CLOSE_RANGE_CLOEXEC, Linux 5.11
    ::syscall(SYS_close_range, 3U, ~0U, kCloseOnExec);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    for (const auto& [name, value] : options.environment) {
      ::setenv(name.c_str(), value.c_str(), 1);  // this program has one thread: safe after fork
    }
    ::execvp(arguments[0], arguments.data());
    report_and_exit(write_end.get());
  }

  write_end.reset();
  int error = 0;
  ssize_t size = 0;
  do {
    size = ::read(read_end.get(), &error, sizeof error);
  } while (size < 0 && errno == EINTR);
  if (size == static_cast<ssize_t>(sizeof error)) {
    ::waitpid(pid, nullptr, 0);
    return fail(ErrorCode::kInternal,
                "starting " + options.arguments[0] + ": " + std::strerror(error) + ".");
  }
  // The child is ours and not reaped, so its pid cannot have changed hands.
  const auto stat = read_stat(pid);
  if (!stat) {
    return fail(ErrorCode::kInternal, "reading /proc: is it mounted?");
  }
  return ProcessIdentity{pid, stat->start_time};
}

bool is_running(const ProcessIdentity& process) {
  return open_process(process).has_value();
}

bool send_signal(const ProcessIdentity& process, int signal) {
  const auto fd = open_process(process);
  return fd && signal_descriptor(*fd, signal);
}

std::vector<ProcessIdentity> end_all(const std::vector<ProcessIdentity>& processes,
                                     std::chrono::milliseconds grace) {
  std::vector<std::pair<ProcessIdentity, Descriptor>> alive;
  for (const ProcessIdentity& process : processes) {
    if (auto fd = open_process(process)) {
      signal_descriptor(*fd, SIGTERM);
      signal_descriptor(*fd, SIGCONT);  // a stopped process would not see it otherwise
      alive.emplace_back(process, std::move(*fd));
    }
  }
  wait_gone(alive, grace);
  for (const auto& [process, fd] : alive) {
    signal_descriptor(fd, SIGKILL);
  }
  wait_gone(alive, std::chrono::seconds(5));
  std::vector<ProcessIdentity> left;
  for (const auto& [process, fd] : alive) {
    left.push_back(process);
  }
  return left;
}

}  // namespace cosigner::devcluster
