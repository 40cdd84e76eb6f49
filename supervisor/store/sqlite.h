#pragma once
// SQLite behind two RAII classes: a connection and a prepared statement. Errors are storage_failed
// with SQLite's words. Used by the store's thread only.

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "crypto/base/bytes.h"
#include "ipc/error.h"

namespace cosigner::supervisor {

class SqlDatabase;

/// A prepared statement; one run at a time:
///   auto run = statement.run(user, key);   // binds 1, 2, …
///   while (*run.step()) { run.text(0); }
class SqlStatement {
 public:
  /// One execution: resets the statement when it goes.
  class Run {
   public:
    explicit Run(sqlite3_stmt* statement) : statement_(statement) {}
    ~Run() {
      sqlite3_reset(statement_);
      sqlite3_clear_bindings(statement_);
    }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;

    /// True: a row is there. False: done.
    [[nodiscard]] Expected<bool> step();
    /// Calls `row()` at each row, until it fails.
    template <class Row>
    [[nodiscard]] Expected<void> each(Row&& row) {
      for (;;) {
        const Expected<bool> there = step();
        if (!there) {
          return std::unexpected(there.error());
        }
        if (!*there) {
          return {};
        }
        if (Expected<void> done = row(); !done) {
          return done;
        }
      }
    }
    /// For statements without rows.
    [[nodiscard]] Expected<void> execute();

    [[nodiscard]] std::uint64_t integer(int column) const {
      return static_cast<std::uint64_t>(sqlite3_column_int64(statement_, column));
    }
    [[nodiscard]] ByteView blob(int column) const;
    [[nodiscard]] std::string text(int column) const { return std::string(as_text(blob(column))); }
    template <class B>
    [[nodiscard]] B fixed(int column) const {
      return B::from(blob(column)).value_or(B{});  // another length fails the row's MAC
    }

   private:
    sqlite3_stmt* statement_;
  };

  template <class... Arguments>
  [[nodiscard]] Run run(const Arguments&... arguments) {
    int place = 0;
    (bind(++place, arguments), ...);
    return Run(statement_.get());
  }

 private:
  friend class SqlDatabase;
  explicit SqlStatement(sqlite3_stmt* statement) : statement_(statement) {}

  template <class T>
  void bind(int place, const T& value) {
    if constexpr (std::is_convertible_v<const T&, std::string_view>) {
      const std::string_view text = value;
      sqlite3_bind_text64(statement_.get(), place, text.data(), text.size(), SQLITE_TRANSIENT,
                          SQLITE_UTF8);
    } else if constexpr (std::is_integral_v<T>) {
      sqlite3_bind_int64(statement_.get(), place, static_cast<sqlite3_int64>(value));
    } else {
      const ByteView bytes = value;
      // An empty blob, not NULL.
      sqlite3_bind_blob64(statement_.get(), place,
                          bytes.empty() ? static_cast<const void*>("") : bytes.data(), bytes.size(),
                          SQLITE_TRANSIENT);
    }
  }

  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class SqlDatabase {
 public:
  /// Opens or creates the file, mode 0600.
  [[nodiscard]] static Expected<SqlDatabase> open(const std::string& path);

  /// Statements without arguments and results, one or several.
  [[nodiscard]] Expected<void> execute(const char* sql);
  /// Writes the log back and empties it, without waiting. False: a reader or another writer is in
  /// the way, and the log is as long as before.
  [[nodiscard]] Expected<bool> truncate_log();
  [[nodiscard]] Expected<SqlStatement> prepare(std::string_view sql);
  /// The first column of the first row of a pragma or query.
  [[nodiscard]] Expected<std::string> query_text(std::string_view sql);
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(database_.get()) == 0; }

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  };
  explicit SqlDatabase(sqlite3* database) : database_(database) {}
  std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace cosigner::supervisor
