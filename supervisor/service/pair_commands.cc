// The commands about pairwise OT state: bans, unban, renew (README).

#include "ipc/pack.h"
#include "supervisor/log/audit.h"
#include "supervisor/log/log.h"
#include "supervisor/service/commands.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {
namespace {

std::string_view renewal_name(ipc::PairRenewal renewal) {
  switch (renewal) {
    case ipc::PairRenewal::kNone:
      return "";
    case ipc::PairRenewal::kOrdered:
      return "ordered";
    case ipc::PairRenewal::kStored:
      return "stored";
  }
  return "";
}

ByteVector pack_pair(const PairRecord& pair) {
  ipc::MapPacker out;
  out.text("user", pair.user)
      .text("key", pair.key)
      .unsigned_integer("epoch", pair.epoch)
      .text("peer", pair.peer)
      .boolean("banned", pair.banned != BanReason::kNone)
      .text("why", ban_reason_name(pair.banned))
      .unsigned_integer("since_ms", pair.banned_since_ms)
      .unsigned_integer("strikes", pair.strikes)
      .text("renewal", renewal_name(pair.renewal));
  return out.finish();
}

ByteVector pack_order(const RenewalOrder& order) {
  return ipc::MapPacker()
      .text("user", order.user)
      .text("key", order.key)
      .unsigned_integer("epoch", order.epoch)
      .text("peer", order.peer)
      .unsigned_integer("at_ms", order.at_ms)
      .boolean("lifts_ban", order.lifts_ban)
      .text("ordered_by", order.ordered_by)
      .text("reason", order.reason)
      .finish();
}

struct Listing {
  std::vector<PairRecord> pairs;
  std::vector<RenewalOrder> orders;
};

}  // namespace

/// {user?} → {bans: […], orders: […]}: every pair with a ban, a strike or an order to renew, and
/// every order ever given.
void Commands::bans(const Request& request, const std::string& user) {
  node_.store().submit(
      StoreThread::Urgency::kNow,
      [user](Store& store) -> Expected<Listing> {
        auto pairs = store.pairs_of(user);
        if (!pairs) {
          return std::unexpected(pairs.error());
        }
        auto orders = store.renewal_orders(user);
        if (!orders) {
          return std::unexpected(orders.error());
        }
        return Listing{*std::move(pairs), *std::move(orders)};
      },
      [request](const Expected<Listing>& listing) {
        if (!listing) {
          request->fail(listing.error());
          return;
        }
        ipc::ArrayPacker pairs;
        for (const PairRecord& pair : listing->pairs) {
          pairs.next().raw(pack_pair(pair));
        }
        ipc::ArrayPacker orders;
        for (const RenewalOrder& order : listing->orders) {
          orders.next().raw(pack_order(order));
        }
        request->succeed(
            ipc::MapPacker().raw("bans", pairs.finish()).raw("orders", orders.finish()).finish());
      });
}

void Commands::unban(const Request& request, const PairArguments& pair) {
  order_renewal(request, pair, true);
}

void Commands::renew(const Request& request, const PairArguments& pair) {
  order_renewal(request, pair, false);
}

/// {user, key, peer, reason} → the pair as it is now. The order and its reason are durable before
/// anything else happens; the renewal follows when both workers meet.
void Commands::order_renewal(const Request& request, const PairArguments& wanted, bool lifts_ban) {
  const RenewalOrder order{.user = wanted.user,
                           .key = wanted.key,
                           .peer = wanted.peer,
                           .lifts_ban = lifts_ban,
                           .reason = wanted.reason,
                           .ordered_by = "uid " + std::to_string(request->peer().uid),
                           .at_ms = wall_ms(),
                           .epoch = 0};
  node_.store().submit(
      StoreThread::Urgency::kNow, [order](Store& store) { return store.order_renewal(order); },
      [this, request, order](const Expected<PairRecord>& pair) {
        if (!pair) {
          request->fail(pair.error());
          return;
        }
        const std::string reason = "renewal ordered by " + order.ordered_by + ": " + order.reason;
        const std::string_view state = order.lifts_ban ? "banned" : "usable";
        audit_order(request->peer(), order.lifts_ban ? "unban" : "renew", order.user, order.key,
                    order.peer, order.reason);
        log_about(about(order.user), spdlog::level::warn, "key={} peer={}: {}", order.key,
                  order.peer, reason);
        node_.events().emit("pair", order.user, state, state, 0,
                            "key " + order.key + ", node " + order.peer + ": " + reason);
        if (const auto told = node_.pool().renew_pair(order.user, pair->standing()); !told) {
          request->fail(Error{.code = told.error().code,
                              .message = "The order is recorded, and is carried out when the "
                                         "user's process runs: " +
                                         told.error().message,
                              .may_have_executed = true});
          return;
        }
        request->succeed(pack_pair(*pair));
      });
}

}  // namespace cosigner::supervisor
