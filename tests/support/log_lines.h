#pragma once
// What this process logs, by the default logger and by the audit log, while one of these lives.

#include <spdlog/sinks/ostream_sink.h>

#include <memory>
#include <sstream>
#include <string>

#include "supervisor/log/audit.h"
#include "supervisor/log/log.h"

namespace cosigner::test {

class LogLines {
 public:
  explicit LogLines(std::unique_ptr<spdlog::formatter> formatter)
      : before_(spdlog::default_logger()),
        sink_(std::make_shared<spdlog::sinks::ostream_sink_mt>(out_)) {
    sink_->set_formatter(std::move(formatter));
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", sink_));
    supervisor::set_up_audit(sink_);
  }
  ~LogLines() {
    supervisor::set_up_audit(nullptr);
    supervisor::set_log_users(false, {});
    spdlog::set_default_logger(before_);
  }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;
  [[nodiscard]] std::string text() const { return out_.str(); }

 private:
  std::shared_ptr<spdlog::logger> before_;
  std::ostringstream out_;
  std::shared_ptr<spdlog::sinks::ostream_sink_mt> sink_;
};

}  // namespace cosigner::test
