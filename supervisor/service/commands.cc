#include "supervisor/service/commands.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <type_traits>

#include "ipc/names.h"
#include "ipc/pack.h"
#include "ipc/request.h"
#include "supervisor/log/audit.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {

struct Commands::Command {
  Rights needed;
  void (*run)(Commands&, const Request&, ipc::MapReader&);
};

/// The one way from a call's arguments to a command: read by a function of command_arguments.h, and
/// nothing left over. So no command can forget to look.
template <auto read, auto run>
void Commands::call(Commands& self, const Request& request, ipc::MapReader& arguments) {
  const auto given = read(arguments);
  if (const auto whole = finish_arguments(arguments); !whole) {
    request->fail(whole.error());
    return;
  }
  if constexpr (std::is_same_v<decltype(given), const NoArguments>) {
    (self.*run)(request);
  } else {
    (self.*run)(request, given);
  }
}

const std::map<std::string, Commands::Command, std::less<>>& Commands::table() {
  static const std::map<std::string, Command, std::less<>> kTable{
      {"status", {Rights::kView, &call<no_arguments, &Commands::status>}},
      {"metrics", {Rights::kView, &call<no_arguments, &Commands::metrics>}},
      {"self-check", {Rights::kView, &call<no_arguments, &Commands::self_check>}},
      {"cluster", {Rights::kView, &call<no_arguments, &Commands::cluster>}},
      {"peers", {Rights::kView, &call<no_arguments, &Commands::peers>}},
      {"version", {Rights::kView, &call<no_arguments, &Commands::version>}},
      {"users", {Rights::kView, &call<no_arguments, &Commands::users>}},
      {"user", {Rights::kView, &call<user_argument, &Commands::user>}},
      {"keys", {Rights::kView, &call<user_argument, &Commands::keys>}},
      {"bans", {Rights::kView, &call<optional_user_argument, &Commands::bans>}},
      {"owners", {Rights::kView, &call<no_arguments, &Commands::owners>}},
      {"events", {Rights::kView, &call<follow_argument, &Commands::events>}},
      {"submit",
       {Rights::kView, &call<envelope_argument, &Commands::submit>}},  // its authority is the
                                                                       // initiator's signature
      {"evict", {Rights::kAdmin, &call<user_argument, &Commands::evict>}},
      {"restart", {Rights::kAdmin, &call<user_argument, &Commands::restart>}},
      {"quarantine", {Rights::kAdmin, &call<user_argument, &Commands::quarantine>}},
      {"clear", {Rights::kAdmin, &call<user_argument, &Commands::clear>}},
      {"unban", {Rights::kAdmin, &call<unban_arguments, &Commands::unban>}},
      {"renew", {Rights::kAdmin, &call<pair_arguments, &Commands::renew>}},
      {"verify",
       {Rights::kAdmin,
        &call<key_arguments, &Commands::verify>}},  // starts processes and opens shares
      {"drain", {Rights::kAdmin, &call<no_arguments, &Commands::drain>}},
      {"log-level", {Rights::kAdmin, &call<level_argument, &Commands::log_level>}},
      {"reload", {Rights::kAdmin, &call<no_arguments, &Commands::reload>}},
  };
  return kTable;
}

namespace {

/// How long `evict` asks a worker that says no, and how often.
constexpr std::int64_t kEvictPatienceMs = 1000;
constexpr std::uint32_t kAuditedRefusalsPerSecond = 20;
/// Who floods the socket is not to flood the journal.
constexpr std::uint32_t kLoggedRefusalsPerSecond = 1;
constexpr std::uint64_t kEvictAgainMs = 30;

ByteVector empty_body() {
  return ipc::MapPacker().finish();
}

/// Whom a call is about, for the audit log; empty if it names nobody or cannot be read.
std::string user_of(const ByteVector& given) {
  const auto tree = ipc::Tree::parse(given);
  if (!tree) {
    return {};
  }
  ipc::MapReader arguments(tree->root(), "arguments");
  std::string user = arguments.has("user") ? arguments.text("user", kMaxUserName) : "";
  return valid_user_name(user) ? user : "";
}

}  // namespace

void Commands::handle(Request request) {
  const auto found = table().find(request->command());
  const bool known = found != table().end();
  const std::string command = known ? found->first : ipc::make_loggable(request->command());
  // Who may not even look is not told which commands there are.
  const Rights needed = known ? found->second.needed : Rights::kView;
  const bool allowed = rights_.of(request->peer()) >= needed;
  // Refusals cost their callers nothing: no more of them than this fill the log of a busy stranger.
  if (allowed ? needed == Rights::kAdmin
              : refusals_audited_.take(request->peer().uid, monotonic_ms(),
                                       kAuditedRefusalsPerSecond)) {
    audit_control(request->peer(), command, user_of(request->arguments()),
                  allowed ? "allowed" : error_name(ErrorCode::kDenied));
  }
  if (!allowed) {
    node_.metrics().control_refused();
    log_refusal(request->peer(), command);
    request->fail({.code = ErrorCode::kDenied,
                   .message = "You may not do this here: ask for membership of the node's " +
                              std::string(needed == Rights::kAdmin ? "admin" : "view") +
                              " group."});
    return;
  }
  if (!known) {
    request->fail({.code = ErrorCode::kBadRequest,
                   .message = "This node knows no command '" + command + "'."});
    return;
  }
  const auto tree = open_arguments(request->arguments());
  if (!tree) {
    request->fail(tree.error());
    return;
  }
  ipc::MapReader arguments(tree->root(), "arguments of '" + command + "'");
  found->second.run(*this, request, arguments);
}

Commands::Commands(Node& node)
    : node_(node),
      rights_(node.config().control.admin, node.config().control.view),
      ask_timer_(node.loop(), [this] { ask_again(); }) {}

void Commands::look_groups_up() {
  rights_ = PeerRights(node_.config().control.admin, node_.config().control.view);
}

void Commands::log_refusal(const ControlPeer& peer, const std::string& command) {
  if (!refusals_logged_.take(monotonic_ms(), kLoggedRefusalsPerSecond)) {
    ++refusals_unlogged_;
    return;
  }
  spdlog::warn("control: uid {} (pid {}) was refused '{}'; {} refusals since the last such line",
               peer.uid, peer.pid, ipc::make_loggable(command),
               std::exchange(refusals_unlogged_, 0));
}

// ---- ending processes

void Commands::evicted(const std::string& user, std::optional<Error> error) {
  const std::int64_t now = monotonic_ms();
  const auto [begin, end] = waiting_.equal_range(user);
  std::vector<Request> done;
  for (auto entry = begin; entry != end;) {
    if (error && now < entry->second.patience_until) {
      ask_timer_.start(kEvictAgainMs);
      ++entry;
      continue;
    }
    done.push_back(std::move(entry->second.request));
    entry = waiting_.erase(entry);
  }
  for (const Request& request : done) {
    if (error) {
      request->fail(*error);
    } else {
      request->succeed(empty_body());
    }
  }
}

void Commands::ask_again() {
  std::set<std::string> users;
  for (const auto& [user, waiting] : waiting_) {
    if (waiting.patience_until > 0) {
      users.insert(user);
    }
  }
  for (const std::string& user : users) {
    if (const auto asked = node_.pool().evict(user); !asked) {
      evicted(user, asked.error().code == ErrorCode::kUnknownUser ? std::nullopt
                                                                  : std::optional(asked.error()));
    }
  }
}

void Commands::evict(const Request& request, const std::string& user) {
  const auto place = waiting_.emplace(user, Waiting{request, monotonic_ms() + kEvictPatienceMs});
  const auto asked = node_.pool().evict(user);
  if (!asked && asked.error().code == ErrorCode::kConflict) {
    ask_timer_.start(kEvictAgainMs);
  } else if (!asked) {
    waiting_.erase(place);
    request->fail(asked.error());
  }
}

void Commands::restart(const Request& request, const std::string& user) {
  const auto place = waiting_.emplace(user, Waiting{request, 0});
  if (const auto ordered = node_.pool().restart(user); !ordered) {
    waiting_.erase(place);
    request->fail(ordered.error());
  }
}

void Commands::quarantine(const Request& request, const std::string& user) {
  node_.pool().quarantine(user);
  request->succeed(empty_body());
}

void Commands::clear(const Request& request, const std::string& user) {
  if (const auto cleared = node_.pool().clear(user); !cleared) {
    request->fail(cleared.error());
    return;
  }
  request->succeed(empty_body());
}

void Commands::drain(const Request& request) {
  spdlog::info("drain ordered over the control socket by uid {}", request->peer().uid);
  request->succeed(empty_body());
  if (!node_.stopping()) {  // a second signal means: at once
    ::raise(SIGTERM);       // the one way to stop
  }
}

// ---- looking on

void Commands::log_level(const Request& request, const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off) {  // what from_str() makes of any other word
    request->fail(
        {.code = ErrorCode::kBadRequest, .message = "Use trace, debug, info, warning or error."});
    return;
  }
  spdlog::set_level(parsed);
  request->succeed(ipc::MapPacker().text("level", level).finish());
}

void Commands::reload(const Request& request) {
  const auto difference = node_.reload();
  if (!difference) {
    std::string text = "The node goes on with the configuration it has:";
    for (const ConfigProblem& problem : difference.error()) {
      text += "\n" + problem.text();
    }
    request->fail({.code = ErrorCode::kBadRequest, .message = std::move(text)});
    return;
  }
  ipc::ArrayPacker applied;
  for (const std::string& change : difference->live) {
    applied.next().text(change);
  }
  ipc::ArrayPacker restart;
  for (const std::string& change : difference->restart) {
    restart.next().text(change);
  }
  request->succeed(ipc::MapPacker()
                       .raw("applied", applied.finish())
                       .raw("needs_restart", restart.finish())
                       .finish());
}

void Commands::events(const Request& request, bool follow) {
  for (const ByteVector& event : node_.events().kept()) {
    if (!request->part(event)) {
      return;
    }
  }
  if (!follow) {
    request->succeed(empty_body());
    return;
  }
  const auto token =
      node_.events().listen([request](const ByteVector& event) { return request->part(event); });
  if (!token) {
    request->fail(retryable(ErrorCode::kOverloaded,
                            "Too many follow this node's events; one of them must end first."));
    return;
  }
  request->on_cancel([this, number = *token] { node_.events().unlisten(number); });
}

void Commands::submit(const Request& request, ByteView envelope) {
  const auto published = node_.gateway().publish(
      to_vector(envelope), {.on_answer =
                                [request](const ByteVector& answer) {
                                  request->part(ipc::MapPacker().bytes("answer", answer).finish());
                                },
                            .on_failed = [request](const Error& error) { request->fail(error); }});
  if (!published) {
    request->fail(published.error());
    return;
  }
  request->on_cancel([this, number = *published] { node_.gateway().cancel(number); });
}

}  // namespace cosigner::supervisor
