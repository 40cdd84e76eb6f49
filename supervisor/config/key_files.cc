#include "supervisor/config/key_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "ipc/unique_fd.h"

namespace cosigner::supervisor {
namespace {

namespace fs = std::filesystem;

enum class Seen : std::uint8_t { kYes, kNo, kNotAllowed };

Seen look_for(const fs::path& path, struct stat& info) {
  if (::stat(path.c_str(), &info) == 0) {
    return Seen::kYes;
  }
  return errno == EACCES ? Seen::kNotAllowed : Seen::kNo;
}

}  // namespace

bool KeyFiles::is_waiting_credential(TomlFields& fields, std::string_view key,
                                     const fs::path& file) const {
  struct stat ignored{};
  if (file.parent_path().parent_path() != "/run/credentials" ||
      look_for(file.parent_path(), ignored) != Seen::kNo) {
    return false;
  }
  const fs::path source = base_ / "credentials" / file.filename();
  const Seen seen = look_for(source, ignored);
  if (seen == Seen::kNo) {
    // No way to make another one: it would replace the key that opens every share.
    fields.complain(key, "the credential " + source.string() + " is not there",
                    "restore it (README.Debian, \"Backup\"); a new node: cosignerctl init");
  } else if (seen == Seen::kNotAllowed && !left_untold(key, source)) {
    fields.complain(key, source.string() + " cannot be looked at: Permission denied",
                    "start the node by its unit, which loads it");
  }
  return true;
}

void KeyFiles::check(TomlFields& fields, std::string_view key, const std::string& path) const {
  if (path.empty() || is_waiting_credential(fields, key, path)) {
    return;
  }
  struct stat info{};
  const Seen seen = look_for(path, info);
  if (seen == Seen::kNotAllowed && left_untold(key, path)) {
    return;
  }
  if (seen != Seen::kYes) {
    const bool missing = seen == Seen::kNo;
    fields.complain(key,
                    path + (missing ? " cannot be found" : " cannot be looked at: no permission"),
                    missing ? "make the key file or correct the path"
                            : "give the node's user the right to enter its directory");
    return;
  }
  const char* credentials = std::getenv("CREDENTIALS_DIRECTORY");
  const bool credential = credentials != nullptr && *credentials != '\0' &&
                          path.starts_with(std::string(credentials) + "/") && info.st_uid == 0 &&
                          (info.st_mode & 0337U) == 0;
  if (!S_ISREG(info.st_mode)) {
    fields.complain(key, path + " is no regular file", "name a file with one line of key text");
  } else if (!credential && (info.st_mode & 0077U) != 0) {
    fields.complain(key, path + " can be read or written by others", "run: chmod 600 " + path);
  } else if (untold_ != nullptr && ::geteuid() != 0 && info.st_uid != ::geteuid()) {
    // Whose it should be is the node's user, whom we do not know.
    static_cast<void>(left_untold(key, path));
  } else if (!credential && info.st_uid != 0 && info.st_uid != ::geteuid() && ::geteuid() != 0) {
    fields.complain(key, path + " belongs to another user", "run: chown it to the node's user");
  } else if (const ipc::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
             !file) {
    fields.complain(key, path + " cannot be read: " + std::strerror(errno),
                    "run: chown it to the node's user, or load it as a systemd credential");
  }
}

}  // namespace cosigner::supervisor
