// Whether stored keys are what their certificates say: verify.

#include <iostream>

#include "ipc/pack.h"
#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/control_client.h"
#include "supervisor/ctl/view.h"

namespace cosigner::ctl {
namespace {

constexpr std::chrono::milliseconds kLookUpAgain{1000};

struct Verified {
  Json keys = Json::array();
  Json unchecked = Json::array();  ///< users, each with why
  std::size_t faulty = 0;

  [[nodiscard]] bool empty() const { return keys.empty() && unchecked.empty(); }
  [[nodiscard]] Json json(bool interrupted) const {
    return {
        {"keys", keys}, {"unchecked", unchecked}, {"faulty", faulty}, {"interrupted", interrupted}};
  }
};

Outcome<std::vector<std::string>> owners_of(ControlClient& node) {
  const auto parts = node.call_for_parts("owners", no_arguments());
  if (!parts) {
    return std::unexpected(parts.error());
  }
  std::vector<std::string> users;
  for (const ByteVector& body : *parts) {
    const auto part = parse_body(body);
    if (!part) {
      return std::unexpected(part.error());
    }
    for (const Json& user : part->value("users", Json::array())) {
      if (user.is_string()) {
        users.push_back(user.get<std::string>());
      }
    }
  }
  return users;
}

bool is_ok(const Json& verdict) {
  const auto found = verdict.find("ok");
  return found != verdict.end() && *found == true;
}

std::unexpected<Failure> interrupted_verify() {
  return failed(ExitStatus::kDeadline, ErrorCode::kCancelled, "interrupted.");
}

/// What the final reply said; each key is told as it comes.
Outcome<void> verify_user(const Context& context, ControlClient& node, const std::string& user,
                          const std::string& key, Verified& out) {
  ipc::MapPacker arguments;
  arguments.text("user", user);
  if (!key.empty()) {
    arguments.text("key", key);
  }
  if (context.interrupted) {
    return interrupted_verify();
  }
  const auto call = node.send("verify", arguments.finish());
  if (!call) {
    return std::unexpected(call.error());
  }
  while (!context.interrupted) {  // the node bounds the time of each key
    const auto reply = node.reply_to(*call, kLookUpAgain);
    if (!reply) {
      return std::unexpected(reply.error());
    }
    if (!*reply) {
      continue;
    }
    if ((*reply)->final) {
      return {};
    }
    const auto verdict = parse_body((*reply)->body);
    if (!verdict) {
      return std::unexpected(verdict.error());
    }
    Json entry{{"user", user}};
    entry.update(*verdict);
    out.faulty += is_ok(entry) ? 0U : 1U;
    if (!context.json) {
      context.out << view_verdict(entry) << std::flush;
    }
    out.keys.push_back(std::move(entry));
  }
  return interrupted_verify();
}

std::string number_of_keys(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " key" : " keys");
}

/// The end before all was looked at, by Ctrl-C or a node that went away: what was found by then is
/// no less true.
Outcome<void> cut_short(const Context& context, const Verified& found, Failure failure) {
  if (found.empty() && !context.interrupted) {
    return std::unexpected(std::move(failure));
  }
  if (failure.error.message.ends_with('.')) {
    failure.error.message.pop_back();
  }
  failure.error.message += ": only " + number_of_keys(found.keys.size()) + " looked at, " +
                           std::to_string(found.faulty) + " of them faulty.";
  if (found.faulty != 0) {
    failure.status = ExitStatus::kRefused;  // asking again will not help those
  }
  if (context.json) {
    Json said = found.json(context.interrupted);
    said.update(error_json(failure.error));
    context.out << said.dump() << "\n";
    failure.reported = true;
  }
  return std::unexpected(std::move(failure));
}

}  // namespace

Outcome<void> run_verify(const Context& context, const std::string& user, const std::string& key) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  std::vector<std::string> users{user};
  if (user.empty()) {
    auto owners = owners_of(*node);
    if (!owners) {
      return std::unexpected(owners.error());
    }
    users = *std::move(owners);
  }
  Verified out;
  for (const std::string& one : users) {
    auto done = verify_user(context, *node, one, key, out);
    if (done) {
      continue;
    }
    Failure& failure = done.error();
    if (!user.empty() || failure.status != ExitStatus::kRefused ||
        failure.error.code == ErrorCode::kDenied) {
      return cut_short(context, out, std::move(failure));
    }
    // One user that cannot be served (quarantined, for example) keeps nobody else from being
    // checked.
    Json entry{{"user", one}};
    entry.update(error_json(failure.error));
    if (!context.json) {
      context.out << one << ": NOT CHECKED: " << error_text(failure.error) << "\n";
    }
    out.unchecked.push_back(std::move(entry));
  }
  if (context.json) {
    context.out << out.json(false).dump() << "\n";
  }
  if (out.faulty == 0 && out.unchecked.empty()) {
    if (!context.json) {
      context.out << number_of_keys(out.keys.size()) << " verified.\n";
    }
    return {};
  }
  auto failure =
      failed(ExitStatus::kRefused, ErrorCode::kStorageFailed,
             std::to_string(out.faulty) + " of " + number_of_keys(out.keys.size()) +
                 " cannot be used as stored" +
                 (out.unchecked.empty() ? std::string()
                                        : ", and those of " + std::to_string(out.unchecked.size()) +
                                              " users are unchecked") +
                 ".");
  failure.error().reported = context.json;
  return failure;
}

}  // namespace cosigner::ctl
