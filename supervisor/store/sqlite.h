#pragma once
// SQLite behind two small types: a database and its prepared statements. The rest of the code sees
// no raw handle.

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "crypto/base/bytes.h"
#include "ipc/error.h"

namespace cosigner::supervisor {

/// What SQLite said, as storage_failed.
struct SqliteClose {
  void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

class Database {
 public:
  /// Opens or creates (mode 0600). Errors name the path.
  [[nodiscard]] static Expected<Database> open(const std::string& path);
  /// One or more statements without results.
  [[nodiscard]] Expected<void> execute(const std::string& sql);
  [[nodiscard]] Error last_error(std::string_view what) const;
  [[nodiscard]] sqlite3* raw() const { return handle_.get(); }
  /// Rows that the last statement changed.
  [[nodiscard]] int changes() const { return sqlite3_changes(handle_.get()); }

 private:
  explicit Database(sqlite3* handle) : handle_(handle) {}
  std::unique_ptr<sqlite3, SqliteClose> handle_;
};

/// One run of a statement: bind in order, then step. Prepared once and cached by the caller's
/// object.
class Query {
 public:
  Query(const Database& database, const char* sql);

  Query& reset();
  Query& bind(std::string_view text);
  Query& bind(ByteView blob);
  Query& bind(std::uint64_t value);

  /// True when there is a row, false at the end.
  [[nodiscard]] Expected<bool> step();
  /// Steps once and demands the end.
  [[nodiscard]] Expected<void> run();

  [[nodiscard]] std::string text(int column) const;
  [[nodiscard]] ByteVector blob(int column) const;
  [[nodiscard]] std::uint64_t integer(int column) const;

 private:
  const Database* database_;
  std::unique_ptr<sqlite3_stmt, SqliteClose> statement_;
  int next_ = 1;
};

}  // namespace cosigner::supervisor
