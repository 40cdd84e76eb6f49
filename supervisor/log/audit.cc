#include "supervisor/log/audit.h"

#include <algorithm>

#include "supervisor/log/log.h"

namespace cosigner::supervisor {
namespace {

std::shared_ptr<spdlog::logger>& audit_logger() {
  static std::shared_ptr<spdlog::logger> logger;
  return logger;
}

/// One entry, one line.
std::string one_line(std::string_view text) {
  std::string line = ipc::make_loggable(text);
  std::ranges::replace(line, '\n', '?');
  return line;
}

}  // namespace

void set_up_audit(std::shared_ptr<spdlog::sinks::sink> sink) {
  audit_logger() = sink ? std::make_shared<spdlog::logger>("audit", std::move(sink)) : nullptr;
}

void audit_request(const Decision& decision) {
  const auto& logger = audit_logger();
  if (!logger) {
    return;
  }
  LogFields fields = about(decision.user, decision.generation, to_hex(decision.session));
  fields.push_back({"audit", "request"});
  fields.push_back({"operation", decision.operation});
  fields.push_back({"key", decision.key});
  fields.push_back({"origin", decision.has_client ? "client" : "peer"});
  fields.push_back({"outcome", std::string(decision.outcome)});
  const LogScope scope(fields);
  logger->info("{} {}", decision.operation, decision.outcome);
}

void audit_control(const ControlPeer& peer, std::string_view command, std::string_view user,
                   std::string_view outcome) {
  const auto& logger = audit_logger();
  if (!logger) {
    return;
  }
  const std::string name = one_line(command);
  LogFields fields = about(user);
  fields.push_back({"audit", "control"});
  fields.push_back({"command", name});
  fields.push_back({"peer_uid", std::to_string(peer.uid)});
  fields.push_back({"peer_pid", std::to_string(peer.pid)});
  fields.push_back({"outcome", std::string(outcome)});
  const LogScope scope(fields);
  logger->info("control: {} {} (uid {}, pid {})", name, outcome, peer.uid, peer.pid);
}

void audit_order(const ControlPeer& peer, std::string_view command, std::string_view user,
                 std::string_view key, std::string_view node, std::string_view reason) {
  const auto& logger = audit_logger();
  if (!logger) {
    return;
  }
  LogFields fields = about(user);
  fields.push_back({"audit", "order"});
  fields.push_back({"command", std::string(command)});
  fields.push_back({"key", std::string(key)});
  fields.push_back({"peer", std::string(node)});
  fields.push_back({"peer_uid", std::to_string(peer.uid)});
  fields.push_back({"peer_pid", std::to_string(peer.pid)});
  fields.push_back({"reason", one_line(reason)});
  const LogScope scope(fields);
  logger->info("order: {} (uid {}, pid {})", command, peer.uid, peer.pid);
}

}  // namespace cosigner::supervisor
