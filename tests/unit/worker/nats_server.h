#pragma once
// A real nats-server on a free loopback port, started and ended by pid.

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace cosigner::test {

class NatsServer {
 public:
  /// `configuration` is added to listen address and log file.
  explicit NatsServer(std::string configuration = {})
      : configuration_(std::move(configuration)), port_(free_port()) {
    std::string pattern = "/tmp/cosigner-nats-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::runtime_error("mkdtemp failed");
    }
    directory_ = pattern;
    start();
  }
  ~NatsServer() {
    kill();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  void start() {
    const std::string path = directory_ + "/nats.conf";
    std::ofstream(path) << "listen: 127.0.0.1:" << port_ << "\nlog_file: \"" << directory_
                        << "/log\"\nmax_payload: 4MB\n"
                        << configuration_;
    const char* arguments[] = {"nats-server", "-c", path.c_str(), nullptr};
    if (::posix_spawnp(&pid_, "nats-server", nullptr, nullptr, const_cast<char**>(arguments),
                       environ) != 0) {
      throw std::runtime_error("nats-server is not installed");
    }
    for (int i = 0; i < 1000; ++i) {
      if (accepts()) {
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    throw std::runtime_error("nats-server does not accept connections; see " + directory_);
  }
  /// For the next start().
  void configure(std::string configuration) { configuration_ = std::move(configuration); }
  /// kill -9 and reap.
  void kill() {
    if (pid_ > 0) {
      ::kill(pid_, SIGCONT);
      ::kill(pid_, SIGKILL);
      int status = 0;
      ::waitpid(pid_, &status, 0);
      pid_ = -1;
    }
  }
  void stop() const { ::kill(pid_, SIGSTOP); }
  void resume() const { ::kill(pid_, SIGCONT); }

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::string url(const std::string& user = {}) const {
    return "nats://" + (user.empty() ? "" : user + ":secret@") +
           "127.0.0.1:" + std::to_string(port_);
  }

 private:
  [[nodiscard]] static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  [[nodiscard]] static std::uint16_t free_port() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    ::close(fd);
    return ntohs(address.sin_port);
  }
  [[nodiscard]] bool accepts() const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(port_);
    const bool connected =
        ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    ::close(fd);
    return connected;
  }

  std::string configuration_;
  std::uint16_t port_;
  std::string directory_;
  pid_t pid_ = -1;
};

}  // namespace cosigner::test
