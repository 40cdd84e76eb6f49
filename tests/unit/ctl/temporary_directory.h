#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>
#include <system_error>

namespace cosigner::test {

/// A fresh directory under /tmp, removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string text = "/tmp/cosigner-unit-ctl-XXXXXX";
    path_ = ::mkdtemp(text.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace cosigner::test
