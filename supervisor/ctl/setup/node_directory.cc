#include "supervisor/ctl/setup/node_directory.h"

#include <fcntl.h>
#include <grp.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "ipc/unique_fd.h"

extern char** environ;

namespace cosigner::ctl {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 1U << 20;

std::unexpected<Error> cannot(const fs::path& path) {
  return fail(ErrorCode::kStorageFailed, path.string() + ": " + std::strerror(errno));
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t size = ::write(fd, text.data(), text.size());
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size <= 0) {
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(size));
  }
  return true;
}

Expected<void> make_durable(const fs::path& path) {
  const ipc::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return fd && ::fsync(fd.get()) == 0 ? Expected<void>() : cannot(path);
}

/// Beside its place first, durable, then moved there.
Expected<void> write_file(const fs::path& path, std::string_view text, mode_t mode,
                          const char* group_name) {
  const std::string part = path.string() + ".new";
  ::unlink(part.c_str());
  const ipc::UniqueFd fd(
      ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd || !write_all(fd.get(), text)) {
    return cannot(path);
  }
  const ::group* owner = group_name == nullptr ? nullptr : ::getgrnam(group_name);
  if (owner != nullptr && ::geteuid() == 0 && ::fchown(fd.get(), 0, owner->gr_gid) != 0) {
    return cannot(path);
  }
  if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0 ||
      std::rename(part.c_str(), path.c_str()) != 0) {
    return cannot(path);
  }
  return make_durable(path.parent_path());
}

Expected<void> make_directory(const fs::path& path, mode_t mode) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error || ::chmod(path.c_str(), mode) != 0) {
    return cannot(path);
  }
  return {};
}

}  // namespace

NodeDirectory::NodeDirectory(fs::path root) : root_(fs::absolute(root).lexically_normal()) {
  if (!root_.has_filename()) {
    root_ = root_.parent_path();  // "DIR/" is DIR
  }
}

std::string NodeDirectory::credential_in_configuration(const char* name) const {
  return system() ? std::string("/run/credentials/cosigner.service/") + name
                  : std::string("credentials/") + name;
}

bool NodeDirectory::set_up() const {
  std::error_code ignored;
  return fs::exists(credential(kEncryptionCredential), ignored);
}

Expected<void> NodeDirectory::make_directories() const {
  for (const auto& [path, mode] : {std::pair{root_, mode_t{0755}},
                                   {root_ / "credentials", mode_t{0700}},
                                   {broker(), mode_t{0755}}}) {
    if (auto made = make_directory(path, mode); !made) {
      return made;
    }
  }
  return {};
}

Expected<CredentialForm> NodeDirectory::write_credential(const char* name, std::string_view secret,
                                                         std::optional<CredentialForm> form) const {
  const fs::path path = credential(name);
  if (form != CredentialForm::kPlain && system()) {
    std::error_code ignored;
    fs::remove(path, ignored);
    // Bound to this host's key and its TPM, but not to the TPM's record of how the host was booted
    // (PCR 7 by default): an update of the firmware or of Secure Boot's lists would otherwise make
    // the keys of a whole fleet unreadable at the next boot.
    if (run_program({"systemd-creds", "encrypt", "--tpm2-pcrs=", std::string("--name=") + name, "-",
                     path.string()},
                    secret)) {
      for (const fs::path& written : {path, path.parent_path()}) {
        if (auto durable = make_durable(written); !durable) {
          return std::unexpected(durable.error());
        }
      }
      return CredentialForm::kEncrypted;
    }
    if (form == CredentialForm::kEncrypted) {
      return fail(ErrorCode::kStorageFailed,
                  "systemd-creds cannot encrypt for this host: 'systemd-creds setup' may say why; "
                  "without it, --credentials plain makes files");
    }
  }
  if (auto written = write_secret(path, secret); !written) {
    return std::unexpected(written.error());
  }
  return CredentialForm::kPlain;
}

Expected<void> NodeDirectory::write_public(const fs::path& path, std::string_view text) const {
  return write_file(path, text, 0644, nullptr);
}

Expected<void> NodeDirectory::write_secret(const fs::path& path, std::string_view text) const {
  return write_file(path, text, 0600, nullptr);
}

Expected<void> NodeDirectory::write_for_broker(const fs::path& path, std::string_view text) const {
  return system() && ::getgrnam("nats") != nullptr ? write_file(path, text, 0640, "nats")
                                                   : write_file(path, text, 0600, nullptr);
}

namespace {

template <class Text>
Expected<Text> read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(ErrorCode::kBadRequest, path.string() + " cannot be read: " + std::strerror(errno));
  }
  Text text;
  char buffer[4096];
  while (file.read(buffer, sizeof buffer), file.gcount() > 0) {
    text.append(buffer, static_cast<std::size_t>(file.gcount()));
    if (text.size() > kMaxFileBytes) {
      return fail(ErrorCode::kBadRequest, path.string() + " is too large");
    }
  }
  return text;
}

}  // namespace

Expected<std::string> read_file(const fs::path& path) {
  return read_text<std::string>(path);
}

Expected<broker::SecretText> read_secret(const fs::path& path) {
  return read_text<broker::SecretText>(path);
}

bool run_program(const std::vector<std::string>& command, std::string_view input) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return false;
  }
  const ipc::UniqueFd read_end(ends[0]);
  ipc::UniqueFd write_end(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, read_end.get(), STDIN_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  std::vector<std::string> words = command;
  std::vector<char*> arguments;
  for (std::string& word : words) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    return false;
  }
  // A secret of some 70 bytes fits the pipe; a program that does not read it must not end this one.
  struct sigaction ignore{};
  struct sigaction before{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  const bool fed = write_all(write_end.get(), input);
  write_end.reset();
  ::sigaction(SIGPIPE, &before, nullptr);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return fed && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace cosigner::ctl
