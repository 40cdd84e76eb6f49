#pragma once
// Whether the database's file is sound, for an operator's question. A connection of its own that
// only reads: the store's thread goes on meanwhile. May be called on any thread.

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace cosigner::supervisor {

enum class Soundness : std::uint8_t {
  kSound,
  kDamaged,
  kUnknown  ///< it could not be read, or not within the time
};
[[nodiscard]] std::string_view soundness_name(Soundness soundness);

struct StructureReport {
  Soundness soundness = Soundness::kUnknown;
  std::string detail;  ///< SQLite's first complaint, or why it is not known
};

/// SQLite's own quick_check: pages, their order, rows that cannot be. It reads the whole file, and
/// while it does the log cannot be truncated; so it gives up after `patience`.
[[nodiscard]] StructureReport check_structure(const std::string& path,
                                              std::chrono::milliseconds patience);

}  // namespace cosigner::supervisor
