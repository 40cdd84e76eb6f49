// Bans and renewals of pairwise OT state: bans, unban, renew.

#include <iostream>
#include <thread>

#include "ipc/pack.h"
#include "supervisor/ctl/commands.h"
#include "supervisor/ctl/view.h"

namespace cosigner::ctl {
namespace {

constexpr std::chrono::milliseconds kLookAgain{100};

ByteVector pair_arguments(const PairArguments& pair) {
  return ipc::MapPacker()
      .text("user", pair.user)
      .text("key", pair.key)
      .text("peer", pair.peer)
      .text("reason", pair.reason)
      .finish();
}

/// The pair's entry in a listing of bans; null if there is none any more.
Outcome<Json> entry_of(ControlClient& node, const PairArguments& pair) {
  const auto body = node.call("bans", ipc::MapPacker().text("user", pair.user).finish());
  if (!body) {
    return std::unexpected(body.error());
  }
  const auto listing = parse_body(*body);
  if (!listing) {
    return std::unexpected(listing.error());
  }
  for (const Json& entry : listing->value("bans", Json::array())) {
    if (entry.value("key", "") == pair.key && entry.value("peer", "") == pair.peer) {
      return entry;
    }
  }
  return Json();
}

}  // namespace

Outcome<void> run_bans(const Context& context, const std::string& user) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  const auto body = node->call(
      "bans", user.empty() ? no_arguments() : ipc::MapPacker().text("user", user).finish());
  if (!body) {
    return std::unexpected(body.error());
  }
  const auto listing = parse_body(*body);
  if (!listing) {
    return std::unexpected(listing.error());
  }
  context.out << (context.json ? listing->dump() + "\n" : view_bans(*listing));
  return {};
}

Outcome<void> run_renewal(const Context& context, std::string_view command,
                          const PairArguments& pair) {
  auto node = ControlClient::connect(context.socket);
  if (!node) {
    return std::unexpected(node.error());
  }
  if (const auto ordered = node->call(command, pair_arguments(pair)); !ordered) {
    return std::unexpected(ordered.error());
  }
  const auto until = std::chrono::steady_clock::now() + pair.timeout;
  while (true) {
    const auto entry = entry_of(*node, pair);
    if (!entry) {
      return std::unexpected(entry.error());
    }
    if (entry->is_null()) {
      if (context.json) {
        context.out << Json{{"renewed", true}}.dump() << "\n";
      } else {
        context.out << "Renewed on both nodes: they may sign together.\n";
      }
      return {};
    }
    if (context.interrupted || std::chrono::steady_clock::now() >= until) {
      const bool stored = entry->value("renewal", "") == "stored";
      return failed(
          ExitStatus::kDeadline, ErrorCode::kPeerUnreachable,
          "The order is recorded, and " +
              (stored ? "this node has renewed, but does not know yet whether " + pair.peer + " has"
                      : pair.peer + " has not taken part yet: its process of this user "
                                    "must run (a request of the user starts it, or renew "
                                    "there), and a ban of its own needs an unban there") +
              ". It goes on by itself; look with bans.");
    }
    std::this_thread::sleep_for(kLookAgain);
  }
}

}  // namespace cosigner::ctl
