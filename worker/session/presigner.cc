// Stock, orders and what signing asks for. See presigner.h.

#include "worker/session/presigner.h"

#include <algorithm>

namespace cosigner::worker {

namespace {

/// Above this many sets with this node in them (5-of-9 has 70) only t windows of neighbours are
/// kept in stock: a pool spread over all of them would seldom have one for the set that meets.
constexpr std::size_t kMaxStreams = 8;

}  // namespace

Presigner::Presigner(Environment& environment, Peers& peers, KeyRing& keys, Pairs& pairs,
                     ProtocolFactory& protocols, CheckNotices& checks)
    : environment_(environment),
      peers_(peers),
      keys_(keys),
      pairs_(pairs),
      protocols_(protocols),
      checks_(checks) {}

// ---- stock

Presigner::Stock* Presigner::find(std::string_view key) {
  const auto found = stocks_.find(key);
  return found == stocks_.end() ? nullptr : found->second.get();
}

Presigner::Stock* Presigner::stock(const KeyEpoch& key) {
  const std::string& name = key.stored.key;
  if (key.record.scheme != Scheme::kEcdsaSecp256k1) {
    return nullptr;
  }
  if (Stock* known = find(name)) {
    if (known->record == key.digest) {
      return known;
    }
    forget_key(name);
  }
  auto made = std::make_unique<Stock>(name, environment_.node);
  made->record = key.digest;
  made->epoch = key.record.epoch;
  made->threshold = key.record.threshold;
  for (const auto& [index, node] : key.record.participants) {
    made->participants.push_back({index, node});
  }
  make_streams(*made);
  return stocks_.emplace(name, std::move(made)).first->second.get();
}

void Presigner::make_streams(Stock& stock) const {
  const auto& all = stock.participants;
  const auto self = std::ranges::find(all, environment_.node, &Participant::node);
  if (self == all.end() || all.size() > kMaxParticipants || stock.threshold < 2 ||
      stock.threshold > all.size()) {
    return;
  }
  const auto at = static_cast<std::size_t>(self - all.begin());
  const std::size_t n = all.size();
  const std::size_t t = stock.threshold;
  const auto add = [&](std::vector<std::size_t> positions) {
    std::ranges::sort(positions);
    Stream stream;
    for (const std::size_t position : positions) {
      stream.members.push_back(all[position]);
    }
    stock.streams.push_back(std::move(stream));
  };
  // All sets with this node in them, smallest bit pattern first, until they are too many.
  std::vector<bool> chosen(n - 1);
  std::fill(chosen.begin(), chosen.begin() + static_cast<std::ptrdiff_t>(t - 1), true);
  do {
    std::vector<std::size_t> positions{at};
    for (std::size_t i = 0; i < n - 1; ++i) {
      if (chosen[i]) {
        positions.push_back(i < at ? i : i + 1);
      }
    }
    add(std::move(positions));
  } while (stock.streams.size() <= kMaxStreams &&
           std::prev_permutation(chosen.begin(), chosen.end()));
  if (stock.streams.size() <= kMaxStreams) {
    return;
  }
  stock.streams.clear();
  for (std::size_t first = 0; first < t; ++first) {
    std::vector<std::size_t> positions;
    for (std::size_t i = 0; i < t; ++i) {
      positions.push_back((at + n - first + i) % n);
    }
    add(std::move(positions));
  }
}

void Presigner::forget_key(std::string_view key) {
  for (auto run = runs_.begin(); run != runs_.end();) {
    const auto next = std::next(run);
    if (run->second->setup().key == key) {
      forget(run);
    }
    run = next;
  }
  const auto found = stocks_.find(key);
  if (found != stocks_.end()) {
    stocks_.erase(found);
  }
}

void Presigner::forget_node(const std::string& node) {
  for (auto run = runs_.begin(); run != runs_.end();) {
    const auto next = std::next(run);
    if (has_member(run->second->setup().signers, node)) {
      for (const Signer& signer : run->second->setup().signers) {
        if (signer.node != environment_.node && signer.node != node) {
          (void)peers_.send(
              signer.node,
              PresignEnd{run->first, static_cast<std::uint8_t>(PresignEnd::Reason::kStranger)},
              true);
        }
      }
      forget(run);
    }
    run = next;
  }
  for (auto& [key, stock] : stocks_) {
    stock->pool.drop_node(node);
    stock->penalties.erase(node);
    for (Stream& stream : stock->streams) {
      if (std::ranges::find(stream.members, node, &Participant::node) != stream.members.end()) {
        stream.not_before_us = 0;
        stream.failures = 0;
      }
    }
  }
  stirred_ = true;
}

Presigner::Depth Presigner::depth(std::string_view key) const {
  const auto found = stocks_.find(key);
  return found == stocks_.end() ? Depth{}
                                : Depth{found->second->pool.own(), found->second->pool.size()};
}

void Presigner::report(const std::string& key, Stock& stock) {
  const Depth now{stock.pool.own(), stock.pool.size()};
  if (now == stock.reported) {
    return;
  }
  const std::int64_t due = stock.reported_us + kReportIntervalUs;
  if (environment_.now_us() < due) {
    next_us_ = std::min(next_us_, due);
    return;
  }
  stock.reported = now;
  stock.reported_us = environment_.now_us();
  environment_.effects.emplace_back(
      ipc::PresignatureStock{.key = key,
                             .epoch = stock.epoch,
                             .ready = static_cast<std::uint32_t>(now.ready),
                             .held = static_cast<std::uint32_t>(now.held)});
}

// ---- signing

std::uint32_t Presigner::held_for(const KeyEpoch& key, std::string_view owner) {
  Stock* known = stock(key);
  if (known == nullptr) {
    return 0;
  }
  stirred_ = stirred_ || !known->used;
  known->used = true;
  return static_cast<std::uint32_t>(known->pool.held_for(owner));
}

const SigningSet* Presigner::best_set(const KeyEpoch& key, const Offers& offers,
                                      const std::function<bool(const SigningSet&)>& usable) {
  const Stock* known = stock(key);
  return known == nullptr ? nullptr : known->pool.best_set(offers, usable);
}

std::optional<dkls23::Presignature> Presigner::take_own(const KeyEpoch& key,
                                                        const SigningSet& signers) {
  Stock* known = stock(key);
  stirred_ = true;
  return known == nullptr ? std::nullopt : known->pool.take_own(signers);
}

std::optional<dkls23::Presignature> Presigner::take_named(const KeyEpoch& key, const Digest& id,
                                                          std::string_view owner,
                                                          const SigningSet& signers) {
  Stock* known = stock(key);
  stirred_ = true;
  return known == nullptr ? std::nullopt : known->pool.take_named(id, owner, signers);
}

void Presigner::drop_named(const Digest& id, std::string_view owner) {
  for (auto& [key, stock] : stocks_) {
    stock->pool.drop_named(id, owner);
  }
  stirred_ = true;
}

// ---- orders

std::size_t Presigner::running_for(const SessionId& order) const {
  return static_cast<std::size_t>(std::ranges::count_if(runs_, [&](const auto& entry) {
    return entry.second->owned() && entry.second->setup().order == order;
  }));
}

void Presigner::end_orders(const Error& error) {
  for (const auto& [id, order] : orders_) {
    Error ended = error;
    ended.may_have_executed = order.made > 0;
    if (order.made > 0) {
      ended.message += "; " + std::to_string(order.made) +
                       " presignatures were made for it here, and go with this process";
    }
    done_.push_back({id, std::move(ended)});
  }
  orders_.clear();
}

void Presigner::begin_order(const Request& request, const SessionId& id, ByteVector envelope) {
  const KeyEpoch* key = keys_.find(request.key);
  Stock* known = key == nullptr ? nullptr : stock(*key);
  if (known == nullptr || known->streams.empty()) {
    done_.push_back({id, Error{.code = ErrorCode::kBadRequest,
                               .message = "key " + request.key +
                                          " has no presignatures, or this node no part in it"}});
    return;
  }
  known->used = true;
  const std::size_t n = known->participants.size();
  const auto part = static_cast<std::uint32_t>((request.count + n - 1) / n);
  const std::int64_t now = environment_.now_us();
  const auto limit_us = std::int64_t{environment_.settings.keygen_deadline_ms} * 1000;
  const std::uint64_t wall = environment_.wall_ms();
  const std::uint64_t left_ms = request.expires_at_ms > wall ? request.expires_at_ms - wall : 0;

  Grant grant{request.key, now + 2 * limit_us, {}};
  for (const Participant& participant : known->participants) {
    grant.left[participant.node] = 2 * part + 8;  // runs that come to nothing count as well
  }
  if (grants_.size() >= kMaxGrants) {
    grants_.erase(std::ranges::min_element(
        grants_, {}, [](const auto& entry) { return entry.second.until_us; }));
  }
  grants_.insert_or_assign(id, std::move(grant));

  Order order;
  order.key = request.key;
  order.envelope = std::move(envelope);
  order.wanted = part;
  order.deadline_us = now + std::min(limit_us, static_cast<std::int64_t>(std::min<std::uint64_t>(
                                                   left_ms, kMaxRequestLifetimeMs)) *
                                                   1000);
  order.stuck_us = now + kStuckUs;
  orders_.insert_or_assign(id, std::move(order));
  stirred_ = true;
}

void Presigner::finish_order(const SessionId& id, Order& order, std::string_view why) {
  const KeyEpoch* key = keys_.find(order.key);
  if (order.made > 0 && key != nullptr) {
    done_.push_back(
        {id, PresignResult{.scheme = key->record.scheme,
                           .epoch = key->record.epoch,
                           .public_key = key->record.public_key,
                           .made = order.made,
                           .ready = static_cast<std::uint32_t>(depth(order.key).ready)}});
  } else if (order.broken) {
    done_.push_back({id, retryable(ErrorCode::kHandlerFailed,
                                   "this node failed at making presignatures of key " + order.key +
                                       ": the cause is in its log")});
  } else {
    std::vector<std::string> absent;
    if (key != nullptr) {
      for (const auto& [index, node] : key->record.participants) {
        if (!peers_.present(node)) {
          absent.push_back(node);
        }
      }
    }
    const bool full = key != nullptr && why == "full";
    done_.push_back(
        {id, Error{.code = full             ? ErrorCode::kOverloaded
                           : absent.empty() ? ErrorCode::kPeerTimeout
                                            : ErrorCode::kQuorumUnavailable,
                   .message = full ? "this node keeps as many presignatures of key " + order.key +
                                         " as it may (sessions.presignature_limit)"
                                   : "no presignature of key " + order.key + " could be made",
                   .may_have_executed = false,
                   .retryable = true,
                   .retry_after_ms = 1000,
                   .peer = absent.empty() ? std::string() : absent.front(),
                   .peer_reason = absent.empty() ? "" : "its gateway is not present"}});
  }
}

}  // namespace cosigner::worker
