#pragma once
// The key files that a configuration names, looked at and not read: they are there, and nobody but
// the node's user may read them.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/config/toml_fields.h"

namespace cosigner::supervisor {

/// Key files, for the node itself or for somebody who may be another user.
class KeyFiles {
 public:
  KeyFiles(std::filesystem::path base, std::vector<std::string>* untold)
      : base_(std::move(base)), untold_(untold) {}

  void check(TomlFields& fields, std::string_view key, const std::string& path) const;

 private:
  /// Of a unit that does not run, systemd shows no credentials: then the encrypted files that it
  /// would decrypt are looked for, beside the configuration.
  [[nodiscard]] bool is_waiting_credential(TomlFields& fields, std::string_view key,
                                           const std::filesystem::path& file) const;
  /// Not a mistake where somebody else asks: "cannot tell".
  [[nodiscard]] bool left_untold(std::string_view key, const std::string& path) const {
    if (untold_ != nullptr) {
      untold_->push_back(std::string(key) + ": " + path);
    }
    return untold_ != nullptr;
  }

  std::filesystem::path base_;
  std::vector<std::string>* untold_;
};

}  // namespace cosigner::supervisor
