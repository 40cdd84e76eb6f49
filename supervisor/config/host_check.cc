#include "supervisor/config/host_check.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>

#include "ipc/key_file.h"
#include "ipc/unique_fd.h"
#include "supervisor/broker/nkey.h"
#include "supervisor/config/listen_address.h"
#include "supervisor/config/toml_fields.h"

namespace cosigner::supervisor {
namespace {

namespace fs = std::filesystem;

class HostCheck {
 public:
  HostCheck(const Config& config, std::vector<std::string>* untold, const Config* running)
      : config_(config), untold_(untold), running_(running) {
    if (toml::parse_result parsed = toml::parse_file(config.path)) {
      text_ = std::move(parsed).table();
    }
  }

  std::vector<ConfigProblem> run() {
    check_identity();
    check_key_encryption_key();
    check_signer("broker.worker_signing_key_file", config_.broker.worker_signing_key_file);
    check_signer("broker.gateway_signing_key_file", config_.broker.gateway_signing_key_file);
    check_state_directory();
    check_groups();
    const bool down = running_ == nullptr && !runs();
    if (down || (running_ != nullptr && config_.control_socket != running_->control_socket)) {
      check_control_socket();
    }
    if (down || (running_ != nullptr && config_.metrics.listen != running_->metrics.listen)) {
      check_metrics_port();
    }
    std::ranges::stable_sort(found_, {}, &ConfigProblem::line);
    return std::move(found_);
  }

 private:
  void complain(std::string_view key, std::string message, std::string remedy) {
    const auto place = toml::at_path(text_, key);
    found_.push_back({config_.path, place ? place.node()->source().begin.line : 0,
                      std::move(message), std::move(remedy)});
  }

  /// A credential that systemd has not decrypted yet; or a key of the node's user, when somebody
  /// else looks on: key files are read by their owner or of root's only.
  [[nodiscard]] bool cannot_look(const std::string& path) const {
    struct stat info{};
    return ::stat(path.c_str(), &info) != 0 ||
           (::geteuid() == 0 && info.st_uid != 0 && S_ISREG(info.st_mode)) ||
           (untold_ != nullptr && ::geteuid() != 0 && info.st_uid != ::geteuid());
  }

  void check_identity() {
    if (cannot_look(config_.identity_key_file)) {
      return;
    }
    const auto identity = load_identity_file(config_.identity_key_file);
    if (!identity) {
      complain("identity_key_file", identity.error().message,
               "make one: openssl rand -hex 32, in a file with mode 0600");
      return;
    }
    const auto self = std::ranges::find(config_.peers, config_.node, &ipc::Peer::node);
    if (self != config_.peers.end() && self->identity != identity->public_key()) {
      complain("identity_key_file",
               config_.peers_file + " names another identity for node '" + config_.node +
                   "' than this key's, which is " + to_hex(identity->public_key().view()),
               "correct one of them");
    }
  }

  void check_key_encryption_key() {
    if (cannot_look(config_.key_encryption_key_file)) {
      return;
    }
    if (const auto key = load_key_file(config_.key_encryption_key_file); !key) {
      complain("key_encryption_key_file", key.error().message,
               "restore it from its recovery copy; for a new node: openssl rand -hex 32");
    }
  }

  void check_signer(std::string_view key, const std::string& path) {
    if (cannot_look(path)) {
      return;
    }
    std::ifstream file(path);
    broker::SecretText text(128, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (!broker::Nkey::from_seed(broker::NkeyKind::kAccount, text)) {
      complain(key, path + " holds no seed of an account signing key",
               "put the seed there that the cluster's operator made for this node: SA and 56 more "
               "characters");
    }
  }

  void check_state_directory() {
    std::error_code error;
    const fs::path directory(config_.state_directory);
    fs::path existing = directory;
    while (!fs::exists(existing, error) && existing.has_relative_path()) {
      existing = existing.parent_path();
    }
    if (!fs::is_directory(existing, error)) {
      complain("state_directory", existing.string() + " is no directory", "correct the path");
      return;
    }
    // Under systemd a running node may write to its own directory alone; that says nothing of
    // another one at the next start, whose unit may have been changed along with this file.
    const bool judges = running_ == nullptr;
    struct stat info{};
    if (judges && ::faccessat(AT_FDCWD, existing.c_str(), W_OK | X_OK, AT_EACCESS) != 0) {
      if (untold_ != nullptr && ::geteuid() != 0) {
        untold_->push_back("state_directory: " + existing.string());
        return;
      }
      complain("state_directory", existing.string() + " cannot be written to",
               "run: chown it to the node's user");
    } else if (existing == directory && ::stat(directory.c_str(), &info) == 0 &&
               (info.st_mode & S_IWOTH) != 0) {
      complain("state_directory", "everybody on this host may write to " + directory.string(),
               "run: chmod 700 " + directory.string());
    }
  }

  void check_groups() {
    for (const auto& [key, name] : {std::pair{"control.view_group", &config_.control.view},
                                    {"control.admin_group", &config_.control.admin}}) {
      if (!name->empty() && ::getgrnam(name->c_str()) == nullptr) {
        complain(key, "this host has no group '" + *name + "'",
                 "run: addgroup --system " + *name + ", or leave the key out");
      }
    }
  }

  /// A node holds the lock of its state directory from its first moment to its last.
  [[nodiscard]] bool runs() const {
    const ipc::UniqueFd lock(
        ::open((config_.state_directory + "/lock").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!lock) {
      return errno == EACCES && untold_ != nullptr;  // it may: nothing is said of its ports
    }
    return ::flock(lock.get(), LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
  }

  void check_control_socket() {
    const std::string directory = fs::path(config_.control_socket).parent_path().string();
    if (directory.starts_with("/run/")) {
      return;  // systemd makes its RuntimeDirectory= before the start, and may listen itself
    }
    struct stat info{};
    if (::stat(directory.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
      complain("control_socket", directory + " is no directory",
               "run: mkdir -p " + directory + ", or correct the path");
    } else if (has_listener(config_.control_socket)) {
      complain("control_socket", config_.control_socket + " is in use by another program",
               "give each node of this host a control socket of its own");
    }
  }

  /// Looked up, not tried: a connection would be a visit to whoever listens.
  static bool has_listener(const std::string& path) {
    constexpr std::string_view kAccepting = "00010000";  // __SO_ACCEPTCON in the column of flags
    std::ifstream sockets("/proc/net/unix");
    for (std::string line; std::getline(sockets, line);) {
      if (line.ends_with(" " + path) && line.find(kAccepting) != std::string::npos) {
        return true;
      }
    }
    return false;
  }

  void check_metrics_port() {
    const auto address = parse_listen_address(config_.metrics.listen);
    if (!address) {
      return;
    }
    if (const auto socket = listen_on(*address); !socket) {
      const bool in_use = socket.error().code == ErrorCode::kConflict;
      complain("metrics.listen",
               config_.metrics.listen + (in_use ? " is in use by another program"
                                                : " cannot be used: " + socket.error().message),
               in_use ? "choose another port; who has it: ss -ltnp" : "correct the address");
    }
  }

  const Config& config_;
  std::vector<std::string>* untold_;  ///< what this user may not look at; null: it is the node
  const Config* running_;             ///< null: who asks is not the running node
  toml::table text_;  ///< of cosigner.toml again, for the lines of what does not fit
  std::vector<ConfigProblem> found_;
};

}  // namespace

std::vector<ConfigProblem> check_host(const Config& config, std::vector<std::string>* untold,
                                      const Config* running) {
  return HostCheck(config, untold, running).run();
}

std::expected<Config, std::vector<ConfigProblem>> check_config(const std::string& path,
                                                               std::vector<std::string>* untold,
                                                               const Config* running) {
  auto config = load_config(path, untold);
  if (config) {
    if (auto problems = check_host(*config, untold, running); !problems.empty()) {
      return std::unexpected(std::move(problems));
    }
  }
  return config;
}

}  // namespace cosigner::supervisor
