#include "supervisor/ctl/json.h"

namespace cosigner::ctl {

Json to_json(ipc::Node node) {
  switch (node.kind()) {
    case ipc::NodeKind::kNull:
      return nullptr;
    case ipc::NodeKind::kBool:
      return node.boolean().value_or(false);
    case ipc::NodeKind::kInteger:
      if (const auto value = node.unsigned_integer()) {
        return *value;
      }
      return node.signed_integer().value_or(0);
    case ipc::NodeKind::kText:
      return std::string(node.text(SIZE_MAX).value_or("?"));
    case ipc::NodeKind::kBytes:
      return to_hex(node.bytes().value_or(ByteView()));
    case ipc::NodeKind::kArray: {
      Json out = Json::array();
      for (std::size_t i = 0; i < node.size(); ++i) {
        out.push_back(to_json(node.at(i)));
      }
      return out;
    }
    case ipc::NodeKind::kMap: {
      Json out = Json::object();
      for (std::size_t i = 0; i < node.size(); ++i) {
        const auto key = node.entry_key(i).text();
        out[std::string(key.value_or("?"))] = to_json(node.entry_value(i));
      }
      return out;
    }
  }
  return nullptr;
}

Outcome<Json> parse_body(ByteView body) {
  const auto tree = ipc::Tree::parse(body);
  if (!tree) {
    return failed(ExitStatus::kRefused, ErrorCode::kInternal,
                  "the node's reply cannot be read: " + tree.error().message + ".");
  }
  return to_json(tree->root());
}

Json error_json(const Error& error) {
  Json out = {{"error", error_name(error.code)},
              {"message", error.message},
              {"may_have_executed", error.may_have_executed},
              {"retryable", error.retryable}};
  if (error.retry_after_ms != 0) {
    out["retry_after_ms"] = error.retry_after_ms;
  }
  if (!error.peer.empty()) {
    out["peer"] = error.peer;
    out["peer_reason"] = error.peer_reason;
  }
  return out;
}

std::string error_text(const Error& error) {
  std::string message = error.message;
  while (!message.empty() && message.back() == '.') {
    message.pop_back();
  }
  std::string out = message + " (" + std::string(error_name(error.code));
  if (!error.peer.empty()) {
    out += "; " + error.peer + (error.peer_reason.empty() ? "" : ": " + error.peer_reason);
  }
  if (error.may_have_executed) {
    out += "; it may have executed";
  }
  return out + ").";
}

}  // namespace cosigner::ctl
