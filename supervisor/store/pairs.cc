// Burn: strikes, bans and renewals of pairwise OT state. A ban and the share
// without the burnt state are one transaction, so that no moment has one without the other.

#include "ipc/key_record.h"
#include "supervisor/store/statements.h"

namespace cosigner::supervisor {
namespace {

std::unexpected<Error> altered() {
  return fail(ErrorCode::kStorageFailed,
              "A stored ban or strike was altered outside of cosignerd: restore a backup.");
}

}  // namespace

std::string_view ban_reason_name(BanReason reason) {
  switch (reason) {
    case BanReason::kNone:
      return "";
    case BanReason::kCheckFailed:
      return "check_failed";
    case BanReason::kStrikes:
      return "strikes";
  }
  return "";
}

Expected<PairRecord> Store::find_pair(const std::string& user, const std::string& key,
                                      std::uint64_t epoch, const std::string& peer) {
  PairRecord out{.user = user, .key = key, .epoch = epoch, .peer = peer};
  auto run = sql_->get_pair.run(user, key, epoch, peer);
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  if (!*row) {
    return out;
  }
  const std::uint64_t banned = run.integer(1);
  const std::uint64_t renewal = run.integer(3);
  if (!constant_time_equal(mac("pairs", {as_bytes(user), as_bytes(key), Number(epoch),
                                         as_bytes(peer), Number(run.integer(0)), Number(banned),
                                         Number(run.integer(2)), Number(renewal)}),
                           run.blob(4)) ||
      banned > static_cast<std::uint64_t>(BanReason::kStrikes) ||
      renewal < static_cast<std::uint64_t>(ipc::PairRenewal::kNone) ||
      renewal > static_cast<std::uint64_t>(ipc::PairRenewal::kStored)) {
    return altered();
  }
  out.strikes = run.integer(0);
  out.banned = static_cast<BanReason>(banned);
  out.banned_since_ms = run.integer(2);
  out.renewal = static_cast<ipc::PairRenewal>(renewal);
  return out;
}

Expected<void> Store::write_pair(const PairRecord& pair) {
  const auto banned = static_cast<std::uint64_t>(pair.banned);
  const auto renewal = static_cast<std::uint64_t>(pair.renewal);
  return sql_->put_pair
      .run(pair.user, pair.key, pair.epoch, pair.peer, pair.strikes, banned, pair.banned_since_ms,
           renewal,
           mac("pairs", {as_bytes(pair.user), as_bytes(pair.key), Number(pair.epoch),
                         as_bytes(pair.peer), Number(pair.strikes), Number(banned),
                         Number(pair.banned_since_ms), Number(renewal)}))
      .execute();
}

Expected<ipc::StoredKey> Store::key_with_peer(const std::string& user, const std::string& key,
                                              std::uint64_t epoch, const std::string& peer) {
  auto epochs = key.empty() ? std::vector<ipc::StoredKey>() : epochs_of(user, key);
  if (!epochs) {
    return std::unexpected(epochs.error());
  }
  for (ipc::StoredKey& known : *epochs) {
    if (known.epoch != epoch) {
      continue;
    }
    const auto record = decode_key_record(known.record);
    if (!record || peer == identity_.node || record->index_of(peer) == 0) {
      return fail(ErrorCode::kBadRequest, "the peer is no other participant of this key");
    }
    return std::move(known);
  }
  return fail(ErrorCode::kUnknownKey, "there is no such epoch of this key");
}

Expected<void> Store::replace_share(const std::string& user, ipc::StoredKey key,
                                    ByteVector sealed) {
  if (sealed.empty()) {
    return fail(ErrorCode::kBadRequest, "the order brings no share");
  }
  erased_ = true;  // the state that was replaced must not outlive it in the log
  key.sealed_share = std::move(sealed);
  return write_key(user, key);
}

Expected<std::optional<PairRecord>> Store::strike(const std::string& user,
                                                  const ipc::Checking& check,
                                                  std::uint64_t now_ms) {
  if (const auto key = key_with_peer(user, check.key, check.epoch, check.peer); !key) {
    if (key.error().code == ErrorCode::kStorageFailed) {
      return std::unexpected(key.error());
    }
    return std::nullopt;
  }
  auto pair = find_pair(user, check.key, check.epoch, check.peer);
  if (!pair) {
    return std::unexpected(pair.error());
  }
  ++pair->strikes;
  if (pair->strikes >= kStrikesToBan && pair->banned == BanReason::kNone) {
    pair->banned = BanReason::kStrikes;
    pair->banned_since_ms = now_ms;
    pair->renewal = ipc::PairRenewal::kNone;  // an order from before the ban does not lift it
  }
  if (auto done = write_pair(*pair); !done) {
    return std::unexpected(done.error());
  }
  return *pair;
}

Expected<bool> Store::burn(const std::string& user, const ipc::Burn& order, std::uint64_t now_ms) {
  auto key = key_with_peer(user, order.key, order.epoch, order.peer);
  if (!key) {
    return std::unexpected(key.error());
  }
  auto pair = find_pair(user, order.key, order.epoch, order.peer);
  if (!pair) {
    return std::unexpected(pair.error());
  }
  if (!order.failed) {
    if (pair->banned == BanReason::kNone) {
      return fail(ErrorCode::kConflict, "the pair is not banned");
    }
    if (auto done = replace_share(user, std::move(*key), order.sealed_share); !done) {
      return std::unexpected(done.error());
    }
    return false;
  }
  const bool first = pair->banned == BanReason::kNone;
  if (first) {
    pair->banned = BanReason::kCheckFailed;
    pair->banned_since_ms = now_ms;
  }
  pair->renewal = ipc::PairRenewal::kNone;
  if (auto done = write_pair(*pair); !done) {
    return std::unexpected(done.error());
  }
  if (auto done = replace_share(user, std::move(*key), order.sealed_share); !done) {
    return std::unexpected(done.error());
  }
  return first;
}

Expected<PairRecord> Store::order_renewal(RenewalOrder order) {
  const auto epochs =
      order.key.empty() ? std::vector<ipc::StoredKey>() : epochs_of(order.user, order.key);
  if (!epochs) {
    return std::unexpected(epochs.error());
  }
  for (const ipc::StoredKey& known : *epochs) {
    if (known.state == ipc::KeyState::kActive) {
      order.epoch = known.epoch;
    }
  }
  const auto key = key_with_peer(order.user, order.key, order.epoch, order.peer);
  if (!key) {
    return std::unexpected(key.error());
  }
  if (decode_key_record(key->record)->scheme != Scheme::kEcdsaSecp256k1) {
    return fail(ErrorCode::kBadRequest, "only ECDSA keys have OT state to renew");
  }
  auto pair = find_pair(order.user, order.key, order.epoch, order.peer);
  if (!pair) {
    return std::unexpected(pair.error());
  }
  const bool banned = pair->banned != BanReason::kNone;
  if (order.lifts_ban && !banned) {
    return fail(ErrorCode::kBadRequest, "This node has not banned " + order.peer +
                                            " for this key: there is nothing to lift (renew "
                                            "renews without a ban).");
  }
  if (!order.lifts_ban && banned) {
    return fail(ErrorCode::kBanned, "This node has banned " + order.peer +
                                        " for this key: find out why, then use unban with a "
                                        "reason.");
  }
  if (pair->renewal == ipc::PairRenewal::kNone) {
    pair->renewal = ipc::PairRenewal::kOrdered;
  }
  if (auto done = write_pair(*pair); !done) {
    return std::unexpected(done.error());
  }
  const std::uint64_t lifts = order.lifts_ban ? 1 : 0;
  if (auto done = sql_->put_renewal_order
                      .run(order.user, order.key, order.epoch, order.peer, order.at_ms, lifts,
                           order.ordered_by, order.reason,
                           mac("renewal_orders",
                               {as_bytes(order.user), as_bytes(order.key), Number(order.epoch),
                                as_bytes(order.peer), Number(order.at_ms), Number(lifts),
                                as_bytes(order.ordered_by), as_bytes(order.reason)}))
                      .execute();
      !done) {
    return std::unexpected(done.error());
  }
  return *pair;
}

Expected<void> Store::renewed(const std::string& user, const ipc::StoreRenewed& order) {
  auto key = key_with_peer(user, order.key, order.epoch, order.peer);
  if (!key) {
    return std::unexpected(key.error());
  }
  auto pair = find_pair(user, order.key, order.epoch, order.peer);
  if (!pair) {
    return std::unexpected(pair.error());
  }
  const bool ordered = pair->renewal != ipc::PairRenewal::kNone;
  if (pair->banned != BanReason::kNone && !ordered) {
    return fail(ErrorCode::kBanned, "no operator of this node has ordered to lift this ban");
  }
  if (ordered) {
    pair->renewal = ipc::PairRenewal::kStored;
    if (auto done = write_pair(*pair); !done) {
      return done;
    }
  }
  return replace_share(user, std::move(*key), order.sealed_share);
}

Expected<PairRecord> Store::lift(const std::string& user, const ipc::LiftBan& order) {
  const auto pair = find_pair(user, order.key, order.epoch, order.peer);
  if (!pair) {
    return std::unexpected(pair.error());
  }
  const bool nothing = pair->banned == BanReason::kNone && pair->strikes == 0 &&
                       pair->renewal == ipc::PairRenewal::kNone;
  if (nothing) {
    return *pair;
  }
  if (pair->renewal != ipc::PairRenewal::kStored) {
    return fail(ErrorCode::kConflict, "the pair's OT state has not been renewed");
  }
  if (auto done = sql_->erase_pair.run(user, order.key, order.epoch, order.peer).execute(); !done) {
    return std::unexpected(done.error());
  }
  return *pair;
}

Expected<std::vector<PairRecord>> Store::pairs_of(const std::string& user) {
  std::vector<PairRecord> out;
  auto run = sql_->pairs.run(user);
  const auto all = run.each([&]() -> Expected<void> {
    auto pair = find_pair(run.text(0), run.text(1), run.integer(2), run.text(3));
    if (!pair) {
      return std::unexpected(pair.error());
    }
    out.push_back(*std::move(pair));
    return {};
  });
  return all ? Expected<std::vector<PairRecord>>(std::move(out)) : std::unexpected(all.error());
}

Expected<std::uint64_t> Store::count_bans() {
  auto run = sql_->count_bans.run();
  const auto row = run.step();
  if (!row) {
    return std::unexpected(row.error());
  }
  return run.integer(0);
}

Expected<std::vector<RenewalOrder>> Store::renewal_orders(const std::string& user) {
  std::vector<RenewalOrder> out;
  auto run = sql_->renewal_orders.run(user);
  const auto all = run.each([&]() -> Expected<void> {
    if (!constant_time_equal(
            mac("renewal_orders",
                {run.blob(0), run.blob(1), Number(run.integer(2)), run.blob(3),
                 Number(run.integer(4)), Number(run.integer(5)), run.blob(6), run.blob(7)}),
            run.blob(8))) {
      return altered();
    }
    out.push_back({.user = run.text(0),
                   .key = run.text(1),
                   .peer = run.text(3),
                   .lifts_ban = run.integer(5) != 0,
                   .reason = run.text(7),
                   .ordered_by = run.text(6),
                   .at_ms = run.integer(4),
                   .epoch = run.integer(2)});
    return {};
  });
  return all ? Expected<std::vector<RenewalOrder>>(std::move(out)) : std::unexpected(all.error());
}

}  // namespace cosigner::supervisor
