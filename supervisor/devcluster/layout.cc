#include "supervisor/devcluster/layout.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ipc/unique_fd.h"

namespace cosigner::devcluster {
namespace {

std::unexpected<Error> refuse(const std::filesystem::path& path) {
  return fail(ErrorCode::kStorageFailed, path.string() + ": " + std::strerror(errno) + ".");
}

}  // namespace

Expected<void> write_private(const std::filesystem::path& path, std::string_view text) {
  const std::string part = path.string() + ".part";
  {
    const ipc::UniqueFd fd(
        ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, S_IRUSR | S_IWUSR));
    if (!fd) {
      return refuse(path);
    }
    while (!text.empty()) {
      const ssize_t size = ::write(fd.get(), text.data(), text.size());
      if (size < 0 && errno != EINTR) {
        return refuse(path);
      }
      text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    }
  }
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    return refuse(path);
  }
  return {};
}

Expected<void> make_directory(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (::mkdir(path.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return refuse(path);
  }
  return {};
}

std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace cosigner::devcluster
