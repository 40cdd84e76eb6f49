#pragma once
// Plain text tables: columns as wide as their widest cell, two spaces between them.

#include <string>
#include <vector>

namespace cosigner::ctl {

class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void row(std::vector<std::string> cells);
  [[nodiscard]] bool empty() const { return rows_.size() == 1; }
  [[nodiscard]] std::string text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

/// 1536 → "1.5 KiB".
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);
/// 93 → "1 min 33 s"; the two largest units.
[[nodiscard]] std::string human_seconds(std::uint64_t seconds);

}  // namespace cosigner::ctl
