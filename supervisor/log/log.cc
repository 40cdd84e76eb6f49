#include "supervisor/log/log.h"

#include <utility>

#include "ipc/names.h"

namespace cosigner::supervisor {
namespace {

const LogFields kNoFields;
thread_local const LogFields* t_fields = &kNoFields;

struct UserForm {
  bool hashed = false;
  std::string cluster;
};
UserForm& user_form() {
  static UserForm form;
  return form;
}

}  // namespace

const LogFields& current_log_fields() {
  return *t_fields;
}

void set_log_users(bool hashed, std::string cluster) {
  user_form() = {hashed, std::move(cluster)};
}

std::string log_user(std::string_view user) {
  return user_form().hashed ? user_subject_token(user_form().cluster, user) : std::string(user);
}

spdlog::level::level_enum spdlog_level(ipc::LogLevel level) {
  switch (level) {
    case ipc::LogLevel::kDebug:
      return spdlog::level::debug;
    case ipc::LogLevel::kInfo:
      return spdlog::level::info;
    case ipc::LogLevel::kWarning:
      return spdlog::level::warn;
    case ipc::LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

LogFields about(std::string_view user, std::uint64_t generation, std::string_view session) {
  LogFields fields;
  if (!user.empty()) {
    fields.push_back({"user_id", log_user(user)});
  }
  if (generation != 0) {
    fields.push_back({"generation", std::to_string(generation)});
  }
  if (!session.empty()) {
    fields.push_back({"session_id", std::string(session)});
  }
  return fields;
}

LogScope::LogScope(const LogFields& fields) : before_(std::exchange(t_fields, &fields)) {}

LogScope::~LogScope() {
  t_fields = before_;
}

}  // namespace cosigner::supervisor
