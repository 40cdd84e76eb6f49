#include "worker/session/pairs.h"

#include <algorithm>
#include <new>
#include <stdexcept>

#include "crypto/dkls23/key_state.h"

namespace cosigner::worker {

Pairs::Pairs(Environment& environment, Peers& peers, KeyRing& keys,
             std::vector<ipc::PairStanding> standings)
    : environment_(environment), peers_(peers), keys_(keys) {
  for (ipc::PairStanding& one : standings) {
    Pair pair;
    pair.epoch = one.epoch;
    pair.banned = one.banned;
    pair.renewal = one.renewal;
    if (pair.renewal != ipc::PairRenewal::kNone) {
      pair.due_us = environment_.now_us();
    }
    // Of two epochs the later: an epoch's bans end with it, for the next has new OT state.
    const Name name{std::move(one.key), std::move(one.peer)};
    const auto [known, first] = pairs_.try_emplace(name, pair);
    if (!first && known->second.epoch < pair.epoch) {
      known->second = pair;
    }
  }
}

const KeyEpoch* Pairs::epoch_of(const Name& name, std::uint64_t epoch) const {
  const KeyEpoch* key = keys_.find(name.key);
  return key != nullptr && key->record.epoch == epoch ? key : nullptr;
}

const Pairs::Pair* Pairs::find(const Name& name) const {
  const auto found = pairs_.find(name);
  return found == pairs_.end() || epoch_of(name, found->second.epoch) == nullptr ? nullptr
                                                                                 : &found->second;
}

/// The key must be there.
Pairs::Pair& Pairs::pair_of(const Name& name) {
  const std::uint64_t epoch = keys_.find(name.key)->record.epoch;
  Pair& pair = pairs_[name];
  if (pair.epoch != epoch) {
    pair = Pair{};
    pair.epoch = epoch;
  }
  return pair;
}

ParticipantIndex Pairs::index_of(const Name& name) const {
  const KeyEpoch* key = keys_.find(name.key);
  return key == nullptr ? ParticipantIndex{0} : key->record.index_of(name.node);
}

std::uint64_t Pairs::order(OrderKind kind, const Name& name, std::uint64_t epoch) {
  const std::uint64_t number = ++environment_.last_order;
  orders_.emplace(number, Order{kind, name, epoch});
  return number;
}

// ---- bans

bool Pairs::banned(const std::string& key, const std::string& node) const {
  const Pair* pair = find({key, node});
  return pair != nullptr && pair->banned;
}

std::vector<std::string> Pairs::banned_from(const std::string& key) const {
  std::vector<std::string> out;
  for (auto entry = pairs_.lower_bound({key, {}}); entry != pairs_.end() && entry->first.key == key;
       ++entry) {
    if (entry->second.banned && epoch_of(entry->first, entry->second.epoch) != nullptr) {
      out.push_back(entry->first.node);
    }
  }
  return out;
}

std::vector<PairOffer> Pairs::offers(const std::string& key) const {
  std::vector<PairOffer> out;
  const KeyEpoch* epoch = keys_.find(key);
  if (epoch == nullptr || epoch->record.scheme != Scheme::kEcdsaSecp256k1) {
    return out;
  }
  const auto& held = keys_.pairs(key);
  for (const auto& [index, node] : epoch->record.participants) {
    const auto found = held.find(node);
    if (found != held.end() && !banned(key, node)) {
      out.push_back({index, *Bytes<8>::from(found->second.view().first(8))});
    }
  }
  return out;
}

bool Pairs::erase(const Name& name) {
  const Expected<ByteView> share = keys_.share(name.key);
  if (!share || !keys_.pairs(name.key).contains(name.node)) {
    return false;
  }
  std::optional<SecretVector> rest = dkls23::erase_pair(*share, index_of(name));
  if (!rest) {
    return false;  // the share was read a moment ago
  }
  keys_.replace_share(name.key, *rest, environment_.random);
  return true;
}

void Pairs::order_burn(const Name& name, bool failed) {
  const KeyEpoch& key = *keys_.find(name.key);
  environment_.effects.emplace_back(ipc::Burn{
      .order = order(failed ? OrderKind::kBurn : OrderKind::kErase, name, key.record.epoch),
      .key = name.key,
      .epoch = key.record.epoch,
      .peer = name.node,
      .failed = failed,
      .sealed_share = key.stored.sealed_share});
}

void Pairs::burn(const std::string& key, const std::string& node) {
  const Name name{key, node};
  if (index_of(name) == 0) {
    return;
  }
  ++environment_.counters.burns;
  ++unconfirmed_burns_;  // first: from here on nothing gets out until the ban is durable
  try {
    Pair& pair = pair_of(name);
    pair = Pair{};
    pair.epoch = keys_.find(key)->record.epoch;
    pair.banned = true;
    erase(name);
    order_burn(name, true);
    burnt_.push_back(name);
  } catch (...) {
    // Whoever catches an exception goes on without what threw, and this cannot be gone without. Of
    // this one the worker dies at once, inside the check, and its supervisor counts a strike.
    throw std::bad_alloc();
  }
}

void Pairs::erase_banned() {
  for (auto& [name, pair] : pairs_) {
    // New state waits for its lifting; anything else is what the ban is about.
    if (pair.banned && pair.renewal != ipc::PairRenewal::kStored &&
        epoch_of(name, pair.epoch) != nullptr && erase(name)) {
      order_burn(name, false);
    }
  }
}

// ---- the store

bool Pairs::on_stored(const ipc::Stored& stored) {
  const auto found = orders_.find(stored.order);
  if (found == orders_.end()) {
    return false;
  }
  const Order order = std::move(found->second);
  orders_.erase(found);
  if (epoch_of(order.pair, order.epoch) == nullptr) {
    unconfirmed_burns_ -= order.kind == OrderKind::kBurn ? 1U : 0U;  // over with its epoch
    return true;
  }
  if (!stored.ok) {
    retry(order.kind, order.pair, stored);
    return true;
  }
  switch (order.kind) {
    case OrderKind::kBurn:
      --unconfirmed_burns_;
      break;
    case OrderKind::kErase:
      break;
    case OrderKind::kRenewed:
      durable(order.pair, pair_of(order.pair));
      break;
    case OrderKind::kLift:
      // Unless it was burnt again in the meantime.
      if (Pair& pair = pair_of(order.pair); pair.lifting) {
        environment_.log(LogLevel::kInfo, "the OT state of key " + order.pair.key + " with node " +
                                              order.pair.node + " is renewed on both nodes");
        pairs_.erase(order.pair);
      }
      break;
  }
  return true;
}

void Pairs::retry(OrderKind kind, const Name& name, const ipc::Stored& stored) {
  environment_.log(LogLevel::kError, "key " + name.key + ", node " + name.node +
                                         ": the store refused: " + stored.error_message);
  Pair& pair = pair_of(name);
  if (kind == OrderKind::kRenewed && error_from_name(stored.error_name) == ErrorCode::kBanned) {
    // Banned by strikes that this worker did not see, and no order: back to no state at all.
    pair.banned = true;
    pair.storing = false;
    pair.renewal = ipc::PairRenewal::kNone;
    erase(name);
    return;
  }
  if (kind == OrderKind::kLift) {
    // Not the order again but the question to the peer: it may hold other state by then.
    pair.lifting = false;
    pair.interval_us = 0;
    pair.due_us = environment_.now_us() + kRetryStoreUs;
    return;
  }
  if (kind == OrderKind::kErase &&
      (!pair.banned || error_from_name(stored.error_name) == ErrorCode::kConflict)) {
    return;  // lifted since: nothing is to be erased any more
  }
  if (kind == OrderKind::kBurn && error_from_name(stored.error_name) != ErrorCode::kStorageFailed) {
    // Nothing that passes, as a full disk does: the store does not know what is to be banned. A
    // worker that waited for it would answer nobody of its user any more. So it ends, inside the
    // check, and the next one begins with the keys that the store knows.
    throw std::runtime_error("a ban cannot be stored: " + stored.error_message);
  }
  again_[environment_.now_us() + kRetryStoreUs].emplace_back(kind, name);
}

void Pairs::on_timer() {
  const std::int64_t now = environment_.now_us();
  while (!again_.empty() && again_.begin()->first <= now) {
    const auto again = std::move(again_.begin()->second);
    again_.erase(again_.begin());
    for (const auto& [kind, name] : again) {
      if (kind == OrderKind::kErase && !pair_of(name).banned) {
        continue;
      }
      if (kind == OrderKind::kBurn || kind == OrderKind::kErase) {
        order_burn(name, kind == OrderKind::kBurn);
      } else if (kind == OrderKind::kRenewed && pair_of(name).storing) {
        order_renewed(name);
      }
    }
  }
  for (auto& [name, pair] : pairs_) {
    if (pair.due_us > now) {
      continue;
    }
    if (pair.renewal == ipc::PairRenewal::kNone || pair.storing ||
        epoch_of(name, pair.epoch) == nullptr) {
      pair.due_us = INT64_MAX;
    } else if (pair.running) {
      schedule(pair, pair.interval_us);
    } else if (pair.renewal == ipc::PairRenewal::kOrdered || pair.differs) {
      schedule(pair, pair.interval_us * 2);
      send_notice(name, &pair, PairNotice::Wish::kRenew);
    } else {
      schedule(pair, pair.interval_us * 2);
      send_notice(name, &pair, PairNotice::Wish::kReply);
    }
  }
}

std::optional<std::int64_t> Pairs::next_deadline() const {
  std::int64_t next = again_.empty() ? INT64_MAX : again_.begin()->first;
  for (const auto& [name, pair] : pairs_) {
    next = std::min(next, pair.due_us);
  }
  return next == INT64_MAX ? std::nullopt : std::optional(next);
}

}  // namespace cosigner::worker
