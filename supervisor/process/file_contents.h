#pragma once
// What the kernel says in files of /proc and /sys: their size is not known before they are read.

#include <fstream>
#include <iterator>
#include <string>

namespace cosigner::supervisor {

/// Empty if the file is not there or may not be read.
inline std::string file_contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace cosigner::supervisor
