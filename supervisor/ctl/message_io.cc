#include "supervisor/ctl/message_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ipc/unique_fd.h"

namespace cosigner::ctl {
namespace {

Outcome<ByteVector> read_all(int fd, const std::string& name) {
  ByteVector out;
  for (;;) {
    const std::size_t size = out.size();
    out.resize(size + (64U << 10));
    const ssize_t got = ::read(fd, out.data() + size, out.size() - size);
    out.resize(size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) {
      return out;
    }
    if (got < 0 && errno != EINTR) {
      return failed(ExitStatus::kNoInput, ErrorCode::kBadRequest,
                    "reading " + name + ": " + std::strerror(errno) + ".");
    }
  }
}

/// With errno's reason.
std::unexpected<Failure> cannot_write(const std::string& path) {
  return failed(ExitStatus::kCannotWrite, ErrorCode::kBadRequest,
                "writing " + path + ": " + std::strerror(errno) + ".");
}

/// What a new file is called until it is whole.
std::string part_name(const std::string& path) {
  return path + ".part." + std::to_string(::getpid());
}

}  // namespace

Outcome<ByteVector> read_message(const MessageSource& source) {
  if (source.file.empty() == !source.hex) {
    return failed(
        ExitStatus::kUsage, ErrorCode::kBadRequest,
        "give the message once: --message-file FILE, --message-hex HEX, --digest-hex HEX, or - for "
        "standard input.");
  }
  if (source.hex) {
    auto bytes = from_hex(*source.hex);
    if (!bytes) {
      return failed(
          ExitStatus::kUsage, ErrorCode::kBadRequest,
          "--message-hex and --digest-hex take an even number of hex digits and nothing else.");
    }
    return std::move(*bytes);
  }
  if (source.file == "-") {
    return read_all(STDIN_FILENO, "standard input");
  }
  const ipc::UniqueFd fd(::open(source.file.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    return failed(ExitStatus::kNoInput, ErrorCode::kBadRequest,
                  "opening " + source.file + ": " + std::strerror(errno) + ".");
  }
  return read_all(fd.get(), source.file);
}

Outcome<void> check_writable(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) {
      errno = EISDIR;
      return cannot_write(path);
    }
    return ::access(path.c_str(), W_OK) == 0 ? Outcome<void>() : cannot_write(path);
  }
  const std::string target = part_name(path);
  if (const ipc::UniqueFd fd(::open(target.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)); !fd) {
    return cannot_write(path);
  }
  ::unlink(target.c_str());
  return {};
}

Outcome<void> write_file(const std::string& path, std::string_view bytes) {
  // A device or a pipe (/dev/stdout) is written to; only a regular file can be replaced.
  const std::string target = part_name(path);
  const bool direct = ::access(path.c_str(), F_OK) == 0;
  const ipc::UniqueFd fd(::open(direct ? path.c_str() : target.c_str(),
                                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd) {
    return cannot_write(path);
  }
  while (!bytes.empty()) {
    const ssize_t size = ::write(fd.get(), bytes.data(), bytes.size());
    if (size < 0 && errno != EINTR) {
      auto failure = cannot_write(path);
      if (!direct) {
        ::unlink(target.c_str());
      }
      return failure;
    }
    bytes.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  }
  if (!direct && std::rename(target.c_str(), path.c_str()) != 0) {
    auto failure = cannot_write(path);
    ::unlink(target.c_str());
    return failure;
  }
  return {};
}

}  // namespace cosigner::ctl
