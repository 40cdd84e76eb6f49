#include "supervisor/service/log_format.h"

#include <spdlog/details/log_msg.h>

#include <nlohmann/json.hpp>

namespace cosigner::supervisor {
namespace {

class JsonFormatter final : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::string node) : node_(std::move(node)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const auto at =
        std::chrono::duration_cast<std::chrono::milliseconds>(message.time.time_since_epoch());
    const spdlog::string_view_t level = spdlog::level::to_string_view(message.level);
    const nlohmann::json line{
        {"time", at.count()},
        {"level", std::string_view(level.data(), level.size())},
        {"node", node_},
        {"message", std::string_view(message.payload.data(), message.payload.size())}};
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

}  // namespace

std::unique_ptr<spdlog::formatter> make_json_formatter(std::string node) {
  return std::make_unique<JsonFormatter>(std::move(node));
}

}  // namespace cosigner::supervisor
