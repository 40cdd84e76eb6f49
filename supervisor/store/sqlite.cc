#include "supervisor/store/sqlite.h"

#include <fcntl.h>

#include "ipc/unique_fd.h"

namespace cosigner::supervisor {
namespace {

/// For a lock that another connection holds: a backup may be reading.
constexpr int kBusyTimeoutMs = 2000;

std::unexpected<Error> failed(sqlite3* database, std::string_view doing) {
  return fail(ErrorCode::kStorageFailed,
              "The store failed while " + std::string(doing) + ": " + sqlite3_errmsg(database));
}

}  // namespace

Expected<bool> SqlStatement::Run::step() {
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return failed(sqlite3_db_handle(statement_), "running a statement");
  }
}

Expected<void> SqlStatement::Run::execute() {
  const auto row = step();
  if (!row) {
    return std::unexpected(row.error());
  }
  return {};
}

ByteView SqlStatement::Run::blob(int column) const {
  const void* data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr || size <= 0) {
    return {};
  }
  return {static_cast<const std::uint8_t*>(data), static_cast<std::size_t>(size)};
}

Expected<SqlDatabase> SqlDatabase::open(const std::string& path) {
  // SQLite would create the file by umask; its WAL takes over the mode of the main file.
  const ipc::UniqueFd made(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!made) {
    return fail(ErrorCode::kStorageFailed, "The store " + path + " cannot be opened.");
  }
  sqlite3* raw = nullptr;
  const int status = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | SQLITE_OPEN_NOFOLLOW,
      nullptr);
  SqlDatabase database(raw);
  if (status != SQLITE_OK) {
    return failed(raw, "opening " + path);
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  return database;
}

Expected<void> SqlDatabase::execute(const char* sql) {
  if (sqlite3_exec(database_.get(), sql, nullptr, nullptr, nullptr) != SQLITE_OK) {
    return failed(database_.get(), "running a statement");
  }
  return {};
}

Expected<bool> SqlDatabase::truncate_log() {
  sqlite3_busy_timeout(database_.get(), 0);
  const int status = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_TRUNCATE,
                                               nullptr, nullptr);
  sqlite3_busy_timeout(database_.get(), kBusyTimeoutMs);
  if ((status & 0xff) == SQLITE_BUSY) {  // the rest says which kind
    return false;
  }
  if (status != SQLITE_OK) {
    return failed(database_.get(), "truncating the log");
  }
  return true;
}

Expected<SqlStatement> SqlDatabase::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                         SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
    return failed(database_.get(), "preparing a statement");
  }
  return SqlStatement(statement);
}

Expected<std::string> SqlDatabase::query_text(std::string_view sql) {
  auto statement = prepare(sql);
  if (!statement) {
    return std::unexpected(statement.error());
  }
  auto run = statement->run();
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  return *row ? run.text(0) : std::string();
}

}  // namespace cosigner::supervisor
