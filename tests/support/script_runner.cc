// Becomes the script whose name is this program's own and ".script". The supervisor executes its
// worker program by descriptor, which a script's interpreter could not open.

#include <unistd.h>

#include <array>
#include <cstdio>
#include <string>

int main() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  if (size <= 0) {
    return 1;
  }
  std::string script(path.data(), static_cast<std::size_t>(size));
  script += ".script";
  const std::array<char*, 2> arguments{script.data(), nullptr};
  ::execv(script.c_str(), arguments.data());
  std::perror(script.c_str());
  return 1;
}
