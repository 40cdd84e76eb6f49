#include "ipc/key_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ipc/unique_fd.h"

namespace cosigner {
namespace {

constexpr std::size_t kHexDigits = 64;

std::unexpected<Error> refuse(const std::string& path, const std::string& reason) {
  return fail(ErrorCode::kBadRequest, "key file " + path + ": " + reason);
}

// systemd hands credentials over as files that root or the service's user owns, mode 0400 or (for
// services with ACLs) 0440, in a directory that only the service can enter.
bool is_credential(const std::string& path) {
  const char* const directory = std::getenv("CREDENTIALS_DIRECTORY");
  return directory != nullptr && *directory != '\0' && path.starts_with(directory) &&
         path.substr(std::strlen(directory)).starts_with('/') &&
         path.find("/../") == std::string::npos;
}

int hex_digit(std::uint8_t c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// Decodes into guarded memory without a copy in between.
bool decode_hex(ByteView hex, std::span<std::uint8_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_digit(hex[2 * i]);
    const int low = hex_digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) {
      return false;
    }
    out[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

Expected<void> check_owner(const std::string& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) {
    return refuse(path, "not a regular file");
  }
  const bool credential = is_credential(path);
  if (status.st_uid != 0 && status.st_uid != ::geteuid()) {
    return refuse(path, "belongs to another user: chown it to the user this program runs as");
  }
  const auto forbidden = static_cast<mode_t>(credential ? 0037 : 0077);
  if ((status.st_mode & forbidden) != 0) {
    return refuse(path, "group or others may access it: run chmod 600 " + path);
  }
  return {};
}

bool write_all(int fd, ByteView bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Expected<GuardedKey> load_key_file(const std::string& path) {
  // O_NONBLOCK: opening a fifo by mistake must not hang.
  const ipc::UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    return refuse(path, std::strerror(errno));
  }
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) {
    return refuse(path, std::strerror(errno));
  }
  if (const auto owner = check_owner(path, status); !owner) {
    return std::unexpected(owner.error());
  }
  // One byte more than the longest content, so that a longer file shows.
  SecretBytes<kHexDigits + 3> text;
  std::size_t size = 0;
  while (size < text.kSize) {
    const ssize_t got = ::read(fd.get(), text.expose_mutable().data() + size, text.kSize - size);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      return refuse(path, std::strerror(errno));
    }
    if (got == 0) {
      break;
    }
    size += static_cast<std::size_t>(got);
  }
  ByteView content = text.expose().first(size);
  if (!content.empty() && content.back() == '\n') {
    content = content.first(content.size() - 1);
    if (!content.empty() && content.back() == '\r') {
      content = content.first(content.size() - 1);
    }
  }
  GuardedKey key;
  if (content.size() != kHexDigits || !decode_hex(content, key.expose_mutable())) {
    return refuse(path, "must hold one line of 64 hexadecimal digits");
  }
  key.protect();
  return key;
}

Expected<IdentityKey> load_identity_file(const std::string& path) {
  const auto key = load_key_file(path);
  if (!key) {
    return std::unexpected(key.error());
  }
  const auto seed = SecretBytes<32>::from(key->expose());
  return IdentityKey::from_seed(*seed);
}

Expected<void> create_key_file(const std::string& path, Random& random) {
  const ipc::UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd) {
    return refuse(path, std::strerror(errno));
  }
  const SecretBytes<32> key = random.secret<32>();
  SecretBytes<kHexDigits + 2> line;  // sodium_bin2hex ends its text with a zero byte
  sodium_bin2hex(reinterpret_cast<char*>(line.expose_mutable().data()), kHexDigits + 1,
                 key.expose().data(), key.kSize);
  line.expose_mutable()[kHexDigits] = '\n';
  // fchmod: an unusual umask may have taken the owner's rights as well.
  if (::fchmod(fd.get(), 0600) != 0 || !write_all(fd.get(), line.expose().first(kHexDigits + 1)) ||
      ::fsync(fd.get()) != 0) {
    const std::string reason = std::strerror(errno);
    ::unlink(path.c_str());
    return refuse(path, reason);
  }
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const ipc::UniqueFd parent(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent || ::fsync(parent.get()) != 0) {
    return refuse(path, std::string("its directory cannot be synced: ") + std::strerror(errno));
  }
  return {};
}

}  // namespace cosigner
