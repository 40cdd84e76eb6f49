#include "supervisor/service/commands.h"

#include <grp.h>
#include <pwd.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "ipc/names.h"
#include "ipc/pack.h"
#include "ipc/request.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {

struct Commands::Command {
  Rights needed;
  void (Commands::*run)(const Request&, ipc::MapReader&);
};

const std::map<std::string, Commands::Command, std::less<>>& Commands::table() {
  static const std::map<std::string, Command, std::less<>> kTable{
      {"status", {Rights::kView, &Commands::status}},
      {"cluster", {Rights::kView, &Commands::cluster}},
      {"peers", {Rights::kView, &Commands::peers}},
      {"version", {Rights::kView, &Commands::version}},
      {"users", {Rights::kView, &Commands::users}},
      {"user", {Rights::kView, &Commands::user}},
      {"keys", {Rights::kView, &Commands::keys}},
      {"bans", {Rights::kView, &Commands::bans}},
      {"events", {Rights::kView, &Commands::events}},
      {"submit", {Rights::kView, &Commands::submit}},  // its authority is the initiator's signature
      {"evict", {Rights::kAdmin, &Commands::evict}},
      {"restart", {Rights::kAdmin, &Commands::restart}},
      {"quarantine", {Rights::kAdmin, &Commands::quarantine}},
      {"clear", {Rights::kAdmin, &Commands::clear}},
      {"unban", {Rights::kAdmin, &Commands::unban}},
      {"renew", {Rights::kAdmin, &Commands::renew}},
      {"drain", {Rights::kAdmin, &Commands::drain}},
      {"log-level", {Rights::kAdmin, &Commands::log_level}},
  };
  return kTable;
}

namespace {

/// How long `evict` asks a worker that says no, and how often.
constexpr std::int64_t kEvictPatienceMs = 1000;
constexpr std::uint64_t kEvictAgainMs = 30;

bool in_group(const ControlPeer& peer, const std::string& name) {
  const group* found = name.empty() ? nullptr : ::getgrnam(name.c_str());
  if (found == nullptr) {
    return false;
  }
  const gid_t wanted = found->gr_gid;
  if (peer.gid == wanted) {
    return true;
  }
  const passwd* account = ::getpwuid(peer.uid);
  if (account == nullptr) {
    return false;
  }
  std::vector<gid_t> groups(256);
  int count = static_cast<int>(groups.size());
  if (::getgrouplist(account->pw_name, account->pw_gid, groups.data(), &count) < 0) {
    return false;
  }
  groups.resize(static_cast<std::size_t>(count));
  return std::ranges::find(groups, wanted) != groups.end();
}

ByteVector empty_body() {
  return ipc::MapPacker().finish();
}

/// The "user" argument; a bad one is an error of the map.
std::string user_argument(ipc::MapReader& arguments) {
  std::string user = arguments.text("user", kMaxUserName);
  if (!arguments.failed() && !valid_user_name(user)) {
    arguments.fail("this is no user id");
  }
  return user;
}

}  // namespace

Commands::Rights Commands::rights_of(const ControlPeer& peer) const {
  if (peer.uid == 0 || peer.uid == ::geteuid()) {
    return Rights::kAdmin;
  }
  const ControlGroups& groups = node_.config().control;
  return in_group(peer, groups.admin)  ? Rights::kAdmin
         : in_group(peer, groups.view) ? Rights::kView
                                       : Rights::kNone;
}

void Commands::handle(Request request) {
  const auto found = table().find(request->command());
  if (found == table().end()) {
    request->fail(
        {.code = ErrorCode::kBadRequest,
         .message = "This node knows no command '" + ipc::make_loggable(request->command()) + "'.",
         .peer = {},
         .peer_reason = {}});
    return;
  }
  if (rights_of(request->peer()) < found->second.needed) {
    request->fail(
        {.code = ErrorCode::kDenied,
         .message = "You may not do this here: ask for membership of the node's " +
                    std::string(found->second.needed == Rights::kAdmin ? "admin" : "view") +
                    " group.",
         .peer = {},
         .peer_reason = {}});
    return;
  }
  static const ByteVector kNoArguments = empty_body();
  const ByteVector& given = request->arguments().empty() ? kNoArguments : request->arguments();
  const auto tree = ipc::Tree::parse(given);
  if (!tree) {
    request->fail(tree.error());
    return;
  }
  ipc::MapReader arguments(tree->root(), "arguments");
  (this->*found->second.run)(request, arguments);
}

// ---- ending processes

Commands::Commands(Node& node) : node_(node), ask_timer_(node.loop(), [this] { ask_again(); }) {}

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

void Commands::evict(const Request& request, ipc::MapReader& arguments) {
  const std::string user = user_argument(arguments);
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  const auto place = waiting_.emplace(user, Waiting{request, monotonic_ms() + kEvictPatienceMs});
  const auto asked = node_.pool().evict(user);
  if (!asked && asked.error().code == ErrorCode::kConflict) {
    ask_timer_.start(kEvictAgainMs);
  } else if (!asked) {
    waiting_.erase(place);
    request->fail(asked.error());
  }
}

void Commands::restart(const Request& request, ipc::MapReader& arguments) {
  const std::string user = user_argument(arguments);
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  const auto place = waiting_.emplace(user, Waiting{request, 0});
  if (const auto ordered = node_.pool().restart(user); !ordered) {
    waiting_.erase(place);
    request->fail(ordered.error());
  }
}

void Commands::quarantine(const Request& request, ipc::MapReader& arguments) {
  const std::string user = user_argument(arguments);
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  node_.pool().quarantine(user);
  request->succeed(empty_body());
}

void Commands::clear(const Request& request, ipc::MapReader& arguments) {
  const std::string user = user_argument(arguments);
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  if (const auto cleared = node_.pool().clear(user); !cleared) {
    request->fail(cleared.error());
    return;
  }
  request->succeed(empty_body());
}

void Commands::drain(const Request& request, ipc::MapReader& arguments) {
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  spdlog::info("drain ordered over the control socket by uid {}", request->peer().uid);
  request->succeed(empty_body());
  ::raise(SIGTERM);  // the one way to stop
}

// ---- looking on

void Commands::log_level(const Request& request, ipc::MapReader& arguments) {
  const std::string level = arguments.text("level", 16);
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    request->fail({.code = ErrorCode::kBadRequest,
                   .message = "Use trace, debug, info, warning or error.",
                   .peer = {},
                   .peer_reason = {}});
    return;
  }
  spdlog::set_level(parsed);
  request->succeed(ipc::MapPacker().text("level", level).finish());
}

void Commands::events(const Request& request, ipc::MapReader& arguments) {
  const bool follow = arguments.has("follow") && arguments.boolean("follow");
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
  for (const ByteVector& event : node_.events().kept()) {
    if (!request->part(event)) {
      return;
    }
  }
  if (!follow) {
    request->succeed(empty_body());
    return;
  }
  const auto listening = std::make_shared<bool>(true);
  request->on_cancel([listening] { *listening = false; });
  node_.events().listen(
      [request, listening](const ByteVector& event) { return *listening && request->part(event); });
}

void Commands::submit(const Request& request, ipc::MapReader& arguments) {
  const ByteView envelope = arguments.bytes("envelope", kMaxEnvelopeBytes);
  if (arguments.has("session")) {
    static_cast<void>(arguments.bytes("session", SessionId::kSize));
  }
  if (const auto ok = arguments.finish(); !ok) {
    request->fail(ok.error());
    return;
  }
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
