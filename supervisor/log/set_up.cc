#include "supervisor/log/set_up.h"

#include <spdlog/details/log_msg.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/details/os.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>

#include "supervisor/config/config.h"
#include "supervisor/log/audit.h"

namespace cosigner::supervisor {
namespace {

std::string_view view_of(spdlog::string_view_t text) {
  return {text.data(), text.size()};
}

class TextFormatter final : public spdlog::formatter {
 public:
  explicit TextFormatter(std::string node) : node_(std::move(node)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    using namespace std::chrono;
    const std::tm time = spdlog::details::os::localtime(system_clock::to_time_t(message.time));
    const auto milliseconds =
        duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch()).count() % 1000;
    fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03} {} [{}] ",
                   time.tm_year + 1900, time.tm_mon + 1, time.tm_mday, time.tm_hour, time.tm_min,
                   time.tm_sec, milliseconds, view_of(spdlog::level::to_string_view(message.level)),
                   node_);
    std::string_view separator;
    for (const LogField& field : current_log_fields()) {
      fmt::format_to(std::back_inserter(out), "{}{}={}", separator, field.name, field.value);
      separator = " ";
    }
    fmt::format_to(std::back_inserter(out), "{}{}\n", current_log_fields().empty() ? "" : ": ",
                   view_of(message.payload));
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<TextFormatter>(node_);
  }

 private:
  std::string node_;
};

class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::string node) : node_(std::move(node)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto at =
        std::chrono::duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch());
    nlohmann::json line{{"time", at.count()},
                        {"level", view_of(spdlog::level::to_string_view(message.level))},
                        {"node", node_},
                        {"message", view_of(message.payload)}};
    for (const LogField& field : current_log_fields()) {
      line[std::string(field.name)] = field.value;
    }
    const std::string text =
        line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    out.append(text.data(), text.data() + text.size());
  }
  [[nodiscard]] std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>(node_);
  }

 private:
  std::string node_;
};

int syslog_priority(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LOG_DEBUG;
    case spdlog::level::info:
      return LOG_INFO;
    case spdlog::level::warn:
      return LOG_WARNING;
    default:
      return LOG_ERR;
  }
}

/// One datagram an entry, without the detour of a text line on stderr.
class JournalSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit JournalSink(std::string node) : node_(std::move(node)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    std::vector<std::string> entry =
        journal_entry(message.level, node_, view_of(message.payload), current_log_fields());
    std::vector<iovec> parts;
    parts.reserve(entry.size());
    for (std::string& field : entry) {
      parts.push_back({field.data(), field.size()});
    }
    // A journal that is away loses the line. One that is there and does not read is waited for,
    // once net.unix.max_dgram_qlen (512) lines wait in its socket; systemd's watchdog ends that.
    static_cast<void>(::sd_journal_sendv(parts.data(), static_cast<int>(parts.size())));
  }
  void flush_() override {}

 private:
  std::string node_;
};

}  // namespace

std::unique_ptr<spdlog::formatter> make_text_formatter(std::string node) {
  return std::make_unique<TextFormatter>(std::move(node));
}

std::unique_ptr<spdlog::formatter> make_json_formatter(std::string node) {
  return std::make_unique<JsonFormatter>(std::move(node));
}

bool stderr_is_the_journal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat info{};
  if (stream == nullptr || ::fstat(2, &info) != 0) {
    return false;
  }
  return std::string_view(stream) ==
         std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

std::vector<std::string> journal_entry(spdlog::level::level_enum level, std::string_view node,
                                       std::string_view text, const LogFields& fields) {
  std::vector<std::string> entry{"MESSAGE=" + std::string(text),
                                 "PRIORITY=" + std::to_string(syslog_priority(level)),
                                 "SYSLOG_IDENTIFIER=cosignerd", "NODE=" + std::string(node)};
  for (const LogField& field : fields) {
    std::string name(field.name);
    for (char& letter : name) {
      letter = letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
    }
    entry.push_back(name + "=" + field.value);
  }
  return entry;
}

void set_up_logging(const Config& config) {
  set_log_users(config.log_users == LogUsers::kHashed, config.cluster);
  std::shared_ptr<spdlog::sinks::sink> sink;
  if (stderr_is_the_journal()) {
    sink = std::make_shared<JournalSink>(config.node);
  } else {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
    sink->set_formatter(config.log_format == LogFormat::kJson ? make_json_formatter(config.node)
                                                              : make_text_formatter(config.node));
  }
  static constexpr std::array kLevels{spdlog::level::trace, spdlog::level::debug,
                                      spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  auto logger = std::make_shared<spdlog::logger>("cosignerd", sink);
  logger->set_level(kLevels[static_cast<std::size_t>(config.log_level)]);
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  set_up_audit(config.audit ? sink : nullptr);
}

}  // namespace cosigner::supervisor
