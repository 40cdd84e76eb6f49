#include "supervisor/store/sqlite.h"

#include <fcntl.h>
#include <unistd.h>

#include <stdexcept>

namespace cosigner::supervisor {

Expected<Database> Database::open(const std::string& path) {
  // SQLite would create it with the process's umask: make it private first.
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return fail(ErrorCode::kStorageFailed,
                "cannot open " + path + ": check that the directory exists and is writable");
  }
  ::close(fd);
  sqlite3* handle = nullptr;
  const int status =
      sqlite3_open_v2(path.c_str(), &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  Database database(handle);
  if (status != SQLITE_OK) {
    return std::unexpected(database.last_error("cannot open " + path));
  }
  sqlite3_extended_result_codes(handle, 1);
  sqlite3_busy_timeout(handle, 5000);
  return database;
}

Error Database::last_error(std::string_view what) const {
  return Error{.code = ErrorCode::kStorageFailed,
               .message = std::string(what) + ": " + sqlite3_errmsg(handle_.get()),
               .peer = {},
               .peer_reason = {}};
}

Expected<void> Database::execute(const std::string& sql) {
  if (sqlite3_exec(handle_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return std::unexpected(last_error("the store's database"));
  }
  return {};
}

Query::Query(const Database& database, const char* sql) : database_(&database) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database.raw(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) !=
      SQLITE_OK) {
    // Our own SQL against our own schema: wrong only by our mistake or a damaged file.
    throw std::runtime_error(database.last_error("the store's schema").message);
  }
  statement_.reset(statement);
}

Query& Query::reset() {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
  next_ = 1;
  return *this;
}
Query& Query::bind(std::string_view text) {
  sqlite3_bind_text64(statement_.get(), next_++, text.data(), text.size(), SQLITE_TRANSIENT,
                      SQLITE_UTF8);
  return *this;
}
Query& Query::bind(ByteView blob) {
  // A null pointer would bind NULL.
  sqlite3_bind_blob64(statement_.get(), next_++,
                      blob.empty() ? "" : static_cast<const void*>(blob.data()), blob.size(),
                      SQLITE_TRANSIENT);
  return *this;
}
Query& Query::bind(std::uint64_t value) {
  sqlite3_bind_int64(statement_.get(), next_++, static_cast<sqlite3_int64>(value));
  return *this;
}

Expected<bool> Query::step() {
  switch (sqlite3_step(statement_.get())) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return std::unexpected(database_->last_error("the store's database"));
  }
}

Expected<void> Query::run() {
  const auto row = step();
  sqlite3_reset(statement_.get());
  if (!row) {
    return std::unexpected(row.error());
  }
  return {};
}

std::string Query::text(int column) const {
  const auto* data = sqlite3_column_text(statement_.get(), column);
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return {reinterpret_cast<const char*>(data), size};
}
ByteVector Query::blob(int column) const {
  const auto* data =
      static_cast<const std::uint8_t*>(sqlite3_column_blob(statement_.get(), column));
  const auto size = static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column));
  return data == nullptr ? ByteVector() : ByteVector(data, data + size);
}
std::uint64_t Query::integer(int column) const {
  return static_cast<std::uint64_t>(sqlite3_column_int64(statement_.get(), column));
}

}  // namespace cosigner::supervisor
