// Renewals: how two workers agree on one, and when it is over. See pairs.h.

#include <algorithm>

#include "crypto/base/hash.h"
#include "crypto/dkls23/key_state.h"
#include "worker/session/pairs.h"

namespace cosigner::worker {

SessionId renewal_session(std::string_view cluster, std::string_view user, const KeyEpoch& key,
                          std::string_view node_a, std::string_view node_b) {
  const auto [low, high] = std::minmax(node_a, node_b);
  return *SessionId::from(TaggedHash(tag::kRenewalSession)
                              .part(cluster)
                              .part(user)
                              .part(key.stored.key)
                              .part_u64(key.record.epoch)
                              .part(key.digest)
                              .part(low)
                              .part(high)
                              .finish());
}

void Pairs::schedule(Pair& pair, std::int64_t interval_us) {
  pair.interval_us = std::clamp(interval_us, kFirstAskUs, kAskCapUs);
  pair.due_us = environment_.now_us() + pair.interval_us;
}

void Pairs::send_notice(const Name& name, const Pair* pair, PairNotice::Wish wish) {
  const KeyEpoch& key = *keys_.find(name.key);
  PairNotice notice;
  notice.key = name.key;
  notice.epoch = key.record.epoch;
  notice.record = key.digest;
  notice.wish = static_cast<std::uint8_t>(wish);
  notice.refuses =
      pair != nullptr && pair->banned && pair->renewal == ipc::PairRenewal::kNone ? 1 : 0;
  const auto& held = keys_.pairs(name.key);
  const auto found = held.find(name.node);
  if (found != held.end() && (pair == nullptr || !pair->storing)) {
    notice.holds = 1;
    notice.id = found->second;
  }
  if (!peers_.send(name.node, notice, true)) {
    peers_.greet(name.node, true);  // its answer makes the link, and meet() asks again
  }
}

void Pairs::on_order(const ipc::RenewPair& order) {
  const Name name{order.key, order.peer};
  const KeyEpoch* key = epoch_of(name, order.epoch);
  if (key == nullptr || index_of(name) == 0 || order.peer == environment_.node) {
    environment_.log(LogLevel::kWarning, "a renewal was ordered of a pair this worker has not");
    return;
  }
  Pair& pair = pair_of(name);
  if (pair.renewal == ipc::PairRenewal::kNone) {
    pair.renewal = ipc::PairRenewal::kOrdered;
  }
  pair.interval_us = 0;
  pair.due_us = environment_.now_us();
}

void Pairs::meet(const std::string& node) {
  for (auto& [name, pair] : pairs_) {
    if (name.node == node && pair.renewal != ipc::PairRenewal::kNone) {
      pair.interval_us = 0;
      pair.due_us = environment_.now_us();
    }
  }
}

void Pairs::on_notice(const std::string& from, const PairNotice& notice, bool may_begin) {
  const Name name{notice.key, from};
  const KeyEpoch* key = epoch_of(name, notice.epoch);
  if (key == nullptr || key->digest != notice.record || index_of(name) == 0 ||
      key->record.scheme != Scheme::kEcdsaSecp256k1) {
    ++environment_.counters.messages_refused;
    return;
  }
  const Pair* known = find(name);
  if (known != nullptr && !known->storing) {
    compare(name, pair_of(name), notice);
    known = find(name);
  }
  if (notice.refuses == 1 && known != nullptr && known->renewal == ipc::PairRenewal::kOrdered) {
    environment_.log(LogLevel::kWarning, "node " + from + " has banned this node for key " +
                                             notice.key +
                                             ": the renewal waits for its operator's unban");
    return;
  }
  const bool storing = known != nullptr && known->storing;
  if (notice.wish == static_cast<std::uint8_t>(PairNotice::Wish::kReply) && !storing) {
    send_notice(name, known, PairNotice::Wish::kNothing);  // else its own follows
    return;
  }
  if (notice.wish != static_cast<std::uint8_t>(PairNotice::Wish::kRenew) || storing) {
    return;
  }
  if (known != nullptr && known->banned && known->renewal == ipc::PairRenewal::kNone) {
    send_notice(name, known, PairNotice::Wish::kNothing);  // refuses
    return;
  }
  Pair& pair = pair_of(name);
  const bool ordered = pair.renewal != ipc::PairRenewal::kNone;
  const std::int64_t now = environment_.now_us();
  if (!may_begin || now < pair.begun_us + (ordered ? kBeginAgainUs : pair.unordered_us)) {
    return;
  }
  if (ordered || now >= pair.begun_us + kUnorderedCapUs) {
    pair.unordered_us = kBeginAgainUs;
  } else {
    pair.unordered_us = std::min(2 * pair.unordered_us, kUnorderedCapUs);
  }
  // Also while it runs here: the peer's worker may be another one by now.
  pair.begun_us = now;
  send_notice(name, &pair, PairNotice::Wish::kRenew);
  if (!std::exchange(pair.running, true)) {
    begins_.push_back(name);
  }
}

void Pairs::ended(const Name& name) {
  const auto found = pairs_.find(name);
  if (found != pairs_.end()) {
    found->second.running = false;
  }
}

/// What the peer holds durably, against what we do.
void Pairs::compare(const Name& name, Pair& pair, const PairNotice& notice) {
  if (pair.renewal != ipc::PairRenewal::kStored || pair.lifting) {
    return;
  }
  const auto& held = keys_.pairs(name.key);
  const auto own = held.find(name.node);
  if (notice.holds == 1 && own != held.end() && own->second == notice.id) {
    pair.lifting = true;
    pair.due_us = INT64_MAX;
    environment_.effects.emplace_back(
        ipc::LiftBan{.order = order(OrderKind::kLift, name, pair.epoch),
                     .key = name.key,
                     .epoch = pair.epoch,
                     .peer = name.node});
  } else if (!pair.differs) {
    pair.differs = true;
    pair.interval_us = 0;
    schedule(pair, kBeginAgainUs);
  }
}

void Pairs::order_renewed(const Name& name) {
  const KeyEpoch& key = *keys_.find(name.key);
  environment_.effects.emplace_back(
      ipc::StoreRenewed{.order = order(OrderKind::kRenewed, name, key.record.epoch),
                        .key = name.key,
                        .epoch = key.record.epoch,
                        .peer = name.node,
                        .sealed_share = key.stored.sealed_share});
}

void Pairs::renewed(const Name& name, ByteView secret) {
  const Expected<ByteView> share = keys_.share(name.key);
  Pair& pair = pair_of(name);
  if (!share || (pair.banned && pair.renewal == ipc::PairRenewal::kNone)) {
    return;  // burnt while the session ran
  }
  std::optional<SecretVector> next = dkls23::adopt_pair(*share, secret, index_of(name));
  if (!next) {
    environment_.log(LogLevel::kError, "a renewal of key " + name.key + " ended without state");
    return;
  }
  keys_.replace_share(name.key, *next, environment_.random);
  pair.storing = true;
  pair.differs = false;
  order_renewed(name);
}

/// Our new state is on the disk.
void Pairs::durable(const Name& name, Pair& pair) {
  if (!pair.storing) {
    return;  // burnt since
  }
  pair.storing = false;
  ++environment_.counters.renewals;
  const bool ordered = pair.renewal != ipc::PairRenewal::kNone;
  if (ordered) {
    pair.renewal = ipc::PairRenewal::kStored;
    pair.interval_us = 0;
    schedule(pair, kFirstAskUs);
  }
  send_notice(name, &pair, ordered ? PairNotice::Wish::kReply : PairNotice::Wish::kNothing);
}

}  // namespace cosigner::worker
