#pragma once
// A minimal NATS client for tests, straight on a socket: connects with a JWT and an nkey, and says
// what the server thinks of it. Speaks just enough of the protocol to see every permission error.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "supervisor/broker/nkey.h"

namespace cosigner::test {

class NatsProbe {
 public:
  explicit NatsProbe(std::uint16_t port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  ~NatsProbe() { ::close(fd_); }
  NatsProbe(const NatsProbe&) = delete;
  NatsProbe& operator=(const NatsProbe&) = delete;

  /// True when the server accepts the credentials.
  bool login(const std::string& jwt, const broker::Nkey& user) {
    const std::string info = line();
    if (!connected_ || !info.starts_with("INFO ")) {
      return false;
    }
    const auto fields = nlohmann::json::parse(info.substr(5));
    const std::string nonce = fields.value("nonce", "");
    const auto signature = user.sign(as_bytes(nonce));
    std::string text(128, '\0');
    sodium_bin2base64(text.data(), text.size(), signature.data.data(), 64,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    text.resize(text.find('\0'));
    const nlohmann::json connect = {
        {"jwt", jwt},        {"sig", text},     {"verbose", false},
        {"pedantic", false}, {"lang", "test"},  {"version", "1"},
        {"protocol", 1},     {"headers", true}, {"no_responders", true}};
    send("CONNECT " + connect.dump() + "\r\n");
    return round_trip().empty() && connected_;
  }

  void send(const std::string& text) {
    if (::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
      connected_ = false;
    }
  }

  /// PING and everything up to its PONG; returns the -ERR lines, keeps the messages.
  std::vector<std::string> round_trip() {
    std::vector<std::string> errors;
    send("PING\r\n");
    for (;;) {
      const std::string text = line();
      if (text.empty()) {
        connected_ = false;
        errors.emplace_back("closed");
        return errors;
      }
      if (text == "PONG") {
        return errors;
      }
      if (text == "PING") {
        send("PONG\r\n");
      } else if (text.starts_with("-ERR")) {
        errors.push_back(text);
      } else if (text.starts_with("MSG ") || text.starts_with("HMSG ")) {
        messages.push_back(text);
        line();  // the payloads of these tests are single lines
      }
    }
  }

  bool may_publish(const std::string& subject) {
    send("PUB " + subject + " 2\r\nhi\r\n");
    return round_trip().empty();
  }
  bool may_subscribe(const std::string& subject) {
    send("SUB " + subject + " " + std::to_string(++sid_) + "\r\n");
    return round_trip().empty();
  }

  std::vector<std::string> messages;

 private:
  /// Up to the next CRLF; empty when the server closed or nothing came for three seconds.
  std::string line() {
    for (;;) {
      const std::size_t end = buffer_.find("\r\n");
      if (end != std::string::npos) {
        std::string out = buffer_.substr(0, end);
        buffer_.erase(0, end + 2);
        if (out.empty()) {
          continue;
        }
        return out;
      }
      pollfd poll_fd{fd_, POLLIN, 0};
      if (::poll(&poll_fd, 1, 3000) <= 0) {
        return {};
      }
      char chunk[4096];
      const ssize_t size = ::recv(fd_, chunk, sizeof chunk, 0);
      if (size <= 0) {
        return {};
      }
      buffer_.append(chunk, static_cast<std::size_t>(size));
    }
  }

  int fd_ = -1;
  bool connected_ = false;
  int sid_ = 0;
  std::string buffer_;
};

}  // namespace cosigner::test
