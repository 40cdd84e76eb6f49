#include "supervisor/log/log.h"

#include <utility>

namespace cosigner::supervisor {
namespace {

const LogFields kNone;
thread_local const LogFields* t_fields = &kNone;

}  // namespace

const LogFields& current_log_fields() {
  return *t_fields;
}

LogFields about(std::string_view user, std::uint64_t generation, std::string_view session) {
  LogFields fields;
  if (!user.empty()) {
    fields.push_back({"user_id", std::string(user)});
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
