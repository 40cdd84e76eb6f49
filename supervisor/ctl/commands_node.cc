// The commands that ask one node, or tell it something.

#include <iostream>
#include <limits>

#include "ipc/map_reader.h"
#include "ipc/pack.h"
#include "supervisor/config/host_check.h"
#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/key_points.h"
#include "supervisor/ctl/top.h"
#include "supervisor/ctl/view.h"

namespace cosigner::ctl {
namespace {

Outcome<Json> ask(const Context& context, std::string_view command, ByteVector arguments) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  const auto body = node->call(command, std::move(arguments));
  if (!body) {
    return std::unexpected(body.error());
  }
  return parse_body(*body);
}

ByteVector user_argument(const std::string& user) {
  return ipc::MapPacker().text("user", user).finish();
}

template <class View>
Outcome<void> show(const Context& context, const Outcome<Json>& reply, View view) {
  if (!reply) {
    return std::unexpected(reply.error());
  }
  context.out << (context.json ? reply->dump() + "\n" : view(*reply));
  return {};
}

}  // namespace

Outcome<void> run_status(const Context& context) {
  return show(context, ask(context, "status", no_arguments()), view_status);
}

Outcome<void> run_users(const Context& context) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  return show(context, ask_users(*node), view_users);
}

Outcome<void> run_user(const Context& context, const std::string& user) {
  return show(context, ask(context, "user", user_argument(user)), view_object);
}

Outcome<void> run_keys(const Context& context, const std::string& user,
                       const std::optional<bip32::Path>& path) {
  auto reply = ask(context, "keys", user_argument(user));
  if (reply) {
    if (auto added = add_points(*reply, path); !added) {
      return added;
    }
  }
  return show(context, reply, [](const Json& keys) {
    const std::string points = view_points(keys);
    return view_keys(keys) + (points.empty() ? "" : "\n") + points;
  });
}

Outcome<void> run_peers(const Context& context) {
  return show(context, ask(context, "peers", no_arguments()), view_peers);
}

Outcome<void> run_metrics(const Context& context) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  const auto body = node->call("metrics", no_arguments());
  if (!body) {
    return std::unexpected(body.error());
  }
  const auto tree = ipc::Tree::parse(*body);
  if (!tree) {
    return refused(tree.error());
  }
  ipc::MapReader fields(tree->root(), "metrics");
  const ByteView bytes = fields.bytes("text", std::numeric_limits<std::size_t>::max());
  if (const auto ok = fields.finish_lenient(); !ok) {
    return refused(ok.error());
  }
  const std::string text(bytes.begin(), bytes.end());
  context.out << (context.json ? Json{{"text", text}}.dump() + "\n" : text);
  return {};
}

Outcome<void> run_order(const Context& context, std::string_view command, const std::string& user) {
  return show(context, ask(context, command, user.empty() ? no_arguments() : user_argument(user)),
              view_object);
}

Outcome<void> run_reload(const Context& context) {
  auto outcome = show(context, ask(context, "reload", no_arguments()), view_reload);
  if (!outcome && outcome.error().error.code == ErrorCode::kBadRequest) {
    outcome.error().status = ExitStatus::kConfiguration;
  }
  return outcome;
}

Outcome<void> run_log_level(const Context& context, const std::string& level) {
  return show(context, ask(context, "log-level", ipc::MapPacker().text("level", level).finish()),
              view_object);
}

Outcome<void> run_events(const Context& context, bool follow) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  const auto call = node->send("events", ipc::MapPacker().boolean("follow", follow).finish());
  if (!call) {
    return std::unexpected(call.error());
  }
  while (!context.interrupted) {
    const auto reply = node->reply_to(*call, std::chrono::seconds(1));
    if (!reply) {
      return std::unexpected(reply.error());
    }
    if (!*reply) {
      continue;
    }
    if (!(*reply)->body.empty()) {
      const auto event = parse_body((*reply)->body);
      if (!event) {
        return std::unexpected(event.error());
      }
      context.out << event->dump() << std::endl;  // a follower wants each line at once
    }
    if ((*reply)->final) {
      break;
    }
  }
  return {};
}

Outcome<void> run_config_check(const Context& context, const std::string& file) {
  std::vector<std::string> untold;
  const auto config = supervisor::check_config(file, &untold);
  if (config) {
    if (context.json) {
      context.out << Json{{"ok", true},
                          {"cluster", config->cluster},
                          {"node", config->node},
                          {"problems", Json::array()},
                          {"untold", untold}}
                         .dump()
                  << "\n";
    } else {
      context.out << file << ": good (" << config->node << " of cluster " << config->cluster << ", "
                  << config->peers.size() << " nodes, " << config->initiators.size()
                  << " initiators)\n";
      for (const std::string& one : untold) {
        context.out << "cannot tell as this user (run as root): " << one << "\n";
      }
    }
    return {};
  }
  Json problems = Json::array();
  for (const supervisor::ConfigProblem& problem : config.error()) {
    if (context.json) {
      problems.push_back({{"file", problem.file},
                          {"line", problem.line},
                          {"message", problem.message},
                          {"remedy", problem.remedy}});
    } else {
      context.out << problem.text() << "\n";  // the same lines that cosignerd prints at its start
    }
  }
  const std::size_t count = config.error().size();
  const std::string summary =
      file + " has " + (count == 1 ? "a mistake" : std::to_string(count) + " mistakes");
  if (context.json) {
    context.out << Json{{"ok", false},
                        {"error", error_name(ErrorCode::kBadRequest)},
                        {"message", summary},
                        {"may_have_executed", false},
                        {"problems", problems}}
                       .dump()
                << "\n";
  }
  auto failure = failed(ExitStatus::kConfiguration, ErrorCode::kBadRequest, summary);
  failure.error().reported = true;
  return failure;
}

Outcome<void> run_version(const Context& context) {
  Json out = {{"version", COSIGNER_VERSION}};
  if (!context.socket.empty()) {
    if (const auto reply = ask(context, "version", no_arguments())) {
      out["node_version"] = reply->is_object() ? reply->value("version", "unknown") : "unknown";
    }
  }
  if (context.json) {
    context.out << out.dump() << "\n";
  } else {
    context.out << "cosignerctl " << COSIGNER_VERSION << "\n";
    if (out.contains("node_version")) {
      context.out << "node        " << out["node_version"].get<std::string>() << "\n";
    }
  }
  return {};
}

}  // namespace cosigner::ctl
