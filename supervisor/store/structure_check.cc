#include "supervisor/store/structure_check.h"

#include <sqlite3.h>

#include <memory>

namespace cosigner::supervisor {
namespace {

using Clock = std::chrono::steady_clock;

/// SQLite looks at the clock after this many of its instructions: about a millisecond.
constexpr int kInstructionsBetweenLooks = 100;

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
};
struct Finalize {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

}  // namespace

std::string_view soundness_name(Soundness soundness) {
  switch (soundness) {
    case Soundness::kSound:
      return "sound";
    case Soundness::kDamaged:
      return "damaged";
    case Soundness::kUnknown:
      break;
  }
  return "unknown";
}

StructureReport check_structure(const std::string& path, std::chrono::milliseconds patience) {
  sqlite3* raw = nullptr;
  const int opened = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  const std::unique_ptr<sqlite3, Close> database(raw);
  if (opened != SQLITE_OK) {
    return {Soundness::kUnknown, path + " cannot be opened: " + sqlite3_errstr(opened)};
  }
  Clock::time_point end = Clock::now() + patience;
  sqlite3_busy_timeout(raw, static_cast<int>(patience.count()));
  sqlite3_progress_handler(
      raw, kInstructionsBetweenLooks,
      [](void* until) { return Clock::now() < *static_cast<Clock::time_point*>(until) ? 0 : 1; },
      &end);
  sqlite3_stmt* prepared = nullptr;
  int status = sqlite3_prepare_v2(raw, "PRAGMA quick_check(1)", -1, &prepared, nullptr);
  const std::unique_ptr<sqlite3_stmt, Finalize> statement(prepared);
  if (status == SQLITE_OK) {
    status = sqlite3_step(prepared);
  }
  switch (status) {
    case SQLITE_ROW: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(prepared, 0));
      const std::string first = text == nullptr ? "" : text;
      return first == "ok" ? StructureReport{Soundness::kSound, ""}
                           : StructureReport{Soundness::kDamaged, first};
    }
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {Soundness::kDamaged, sqlite3_errmsg(raw)};
    case SQLITE_INTERRUPT:
      return {Soundness::kUnknown,
              "not checked: it takes longer than " + std::to_string(patience.count()) + " ms"};
    default:
      return {Soundness::kUnknown, std::string("not checked: ") + sqlite3_errmsg(raw)};
  }
}

}  // namespace cosigner::supervisor
