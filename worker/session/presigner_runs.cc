// Which runs to begin, which to take part in, and what becomes of them. See presigner.h.

#include <algorithm>

#include "worker/session/presigner.h"

namespace cosigner::worker {

namespace {

/// 1, 2, 4 … times `first`, at most `cap`.
std::int64_t backoff(std::int64_t first, std::int64_t cap, std::uint32_t failures) {
  return std::min(first << std::min<std::uint32_t>(failures, 12), cap);
}

constexpr std::int64_t kFailedFirstUs = 200'000;
constexpr std::int64_t kFailedCapUs = 30'000'000;
constexpr std::int64_t kFullFirstUs = 50'000;
constexpr std::int64_t kFullCapUs = 5'000'000;
constexpr std::int64_t kUnknownFirstUs = 5'000;  ///< a client's request comes to all nodes at once
constexpr std::int64_t kUnknownCapUs = 500'000;
constexpr std::int64_t kStrangerFirstUs = 50'000;
constexpr std::int64_t kStrangerCapUs = 5'000'000;
constexpr std::int64_t kWakeAgainUs = 1'000'000;
constexpr std::int64_t kTrimIntervalUs = 10'000'000;

bool zero(const SessionId& id) {
  return id == SessionId{};
}

}  // namespace

// ---- as owner

std::size_t Presigner::own_runs(std::string_view key, bool ordered) const {
  return static_cast<std::size_t>(std::ranges::count_if(runs_, [&](const auto& entry) {
    const PresignRun& run = *entry.second;
    return run.owned() && (key.empty() || run.setup().key == key) &&
           (!ordered || !zero(run.setup().order));
  }));
}

bool Presigner::usable(const Stock& stock, const Stream& stream) {
  return std::ranges::all_of(stream.members, [&](const Participant& member) {
    if (member.node == environment_.node) {
      return true;
    }
    if (!peers_.present(member.node) || peers_.distrusted(member.node) ||
        pairs_.banned(stock.key, member.node)) {
      return false;
    }
    if (peers_.certificate(member.node) == nullptr || peers_.link(member.node) == nullptr) {
      peers_.greet(member.node, true);  // its answer stirs
      return false;
    }
    const auto penalty = stock.penalties.find(member.node);
    return penalty == stock.penalties.end() || penalty->second.until_us <= environment_.now_us();
  });
}

Result<std::unique_ptr<dkls23::PresignProtocol>> Presigner::make_protocol(
    const KeyEpoch& key, const Stock& stock, const SessionId& run, ParticipantIndex assembler) {
  const Expected<ByteView> share = keys_.share(key.stored.key);
  if (!share) {
    return recoverable(share.error().message);
  }
  std::vector<Ed25519PublicKey> identities;
  ParticipantIndex self = 0;
  for (const Participant& participant : stock.participants) {
    identities.push_back(peers_.identity(participant.node));
    self = participant.node == environment_.node ? participant.index : self;
  }
  const AttemptScope scope{.cluster = environment_.cluster,
                           .user = environment_.user,
                           .key = key.stored.key,
                           .epoch = stock.epoch,
                           .session = run,
                           .attempt = 0};
  return protocols_.presign(
      SignParameters{.record = to_public_key_record(key.record),
                     .secret = *share,
                     .message = {},
                     .path = {},
                     .context = attempt_context(scope, key.record.scheme, stock.threshold,
                                                stock.participants, identities),
                     .self = self,
                     .assembler = assembler},
      environment_.random);
}

std::unique_ptr<PairChecks> Presigner::checks_for(const std::string& key,
                                                  const Stock& stock) const {
  std::map<ParticipantIndex, std::string> nodes;
  for (const Participant& participant : stock.participants) {
    nodes.emplace(participant.index, participant.node);
  }
  return std::make_unique<PairChecks>(checks_, key, stock.epoch, std::move(nodes));
}

bool Presigner::begin_run(const KeyEpoch& key, Stock& stock, const SessionId& order) {
  if (draining_ || stock.pool.size() + own_runs(key.stored.key, false) >=
                       environment_.settings.presignature_limit) {
    return false;
  }
  Stream* best = nullptr;
  SigningSet signers;
  std::size_t least = SIZE_MAX;
  for (Stream& stream : stock.streams) {
    if (stream.not_before_us > environment_.now_us()) {
      next_us_ = std::min(next_us_, stream.not_before_us);
      continue;
    }
    if (!usable(stock, stream)) {
      continue;
    }
    SigningSet set;
    for (const Participant& member : stream.members) {
      const bool self = member.node == environment_.node;
      set.push_back({member.index, member.node,
                     self ? environment_.generation : peers_.certificate(member.node)->generation});
    }
    const std::size_t stocked = stock.pool.own(set) + stream.running;
    if (stocked < least) {
      least = stocked;
      best = &stream;
      signers = std::move(set);
    }
  }
  if (best == nullptr) {
    return false;
  }
  const auto id = environment_.random.bytes<SessionId>();
  const ParticipantIndex self = std::ranges::find(signers, environment_.node, &Signer::node)->index;
  auto protocol = make_protocol(key, stock, id, self);
  if (!protocol) {
    best->not_before_us = environment_.now_us() + kFailedCapUs;
    environment_.log(LogLevel::kError, "no presignature can be made: " + protocol.error().reason);
    return false;
  }
  PresignRun::Setup setup{.id = id,
                          .key = key.stored.key,
                          .epoch = stock.epoch,
                          .record = stock.record,
                          .signers = std::move(signers),
                          .owner = environment_.node,
                          .number = ++stock.last_number,
                          .order = order};
  std::uint64_t floor = stock.pool.lowest_own().value_or(setup.number);
  for (const auto& [other, run] : runs_) {
    if (run->owned() && run->setup().key == setup.key) {
      floor = std::min(floor, run->setup().number);
    }
  }
  auto run = std::make_unique<PresignRun>(environment_, peers_, std::move(setup),
                                          *std::move(protocol), checks_for(key.stored.key, stock));
  ++best->running;
  ++environment_.counters.presign_runs;
  if (!zero(order)) {
    ++orders_.at(order).running;
  }
  PresignRun& begun = *runs_.emplace(id, std::move(run)).first->second;
  begun.propose(floor);
  review(id);
  return true;
}

void Presigner::pump_orders() {
  const std::int64_t now = environment_.now_us();
  for (auto entry = orders_.begin(); entry != orders_.end();) {
    const auto [id, order] = std::tie(entry->first, entry->second);
    const KeyEpoch* key = keys_.find(order.key);
    Stock* known = key == nullptr ? nullptr : stock(*key);
    bool full = false;
    while (known != nullptr && order.made + order.running < order.wanted &&
           own_runs({}, true) < kOrderedAtOnce) {
      if (!begin_run(*key, *known, id)) {
        full = known->pool.size() >= environment_.settings.presignature_limit;
        break;
      }
    }
    const bool over = known == nullptr || draining_ || order.made >= order.wanted ||
                      now >= order.deadline_us || now >= order.stuck_us ||
                      (full && order.running == 0);
    if (over && (order.running == 0 || now >= order.deadline_us)) {
      finish_order(id, order, full ? "full" : "");
      entry = orders_.erase(entry);
      continue;
    }
    // Workers of participants that have not been met, or not heard of the request, are woken with
    // it.
    if (known != nullptr && order.running == 0 && order.made < order.wanted) {
      for (const Participant& participant : known->participants) {
        if (participant.node == environment_.node || !peers_.present(participant.node)) {
          continue;
        }
        std::int64_t& woken =
            order.woken_us.try_emplace(participant.node, now + 100'000 - kWakeAgainUs)
                .first->second;
        if (now >= woken + kWakeAgainUs) {
          woken = now;
          ++environment_.counters.wakes;
          environment_.effects.emplace_back(
              ipc::Wake{.node = participant.node, .envelope = order.envelope});
        }
        next_us_ = std::min(next_us_, woken + kWakeAgainUs);
      }
    }
    next_us_ = std::min({next_us_, order.deadline_us, std::max(order.stuck_us, now + 1000)});
    ++entry;
  }
}

void Presigner::pump_refill(std::size_t foreground) {
  const std::size_t target = environment_.settings.presignature_pool;
  const std::int64_t now = environment_.now_us();
  if (target == 0 || draining_ || !orders_.empty()) {
    return;
  }
  const bool quiet = foreground == 0 && now >= foreground_us_ + kQuietUs;
  for (auto& [name, stock] : stocks_) {
    if (!stock->used) {
      continue;
    }
    const KeyEpoch* key = keys_.find(name);
    if (key == nullptr || key->digest != stock->record) {
      continue;
    }
    const std::size_t low_water = std::max<std::size_t>(target / kLowWaterPart, 1);
    for (;;) {
      const std::size_t running = own_runs(name, false);
      const std::size_t stocked = stock->pool.own() + running;
      const std::size_t at_once = quiet                           ? kRefillAtOnce
                                  : stock->pool.own() < low_water ? kRefillBusyAtOnce
                                                                  : 0;
      if (stocked >= target) {
        break;
      }
      if (running >= at_once) {
        if (!quiet && foreground == 0) {
          next_us_ = std::min(next_us_, foreground_us_ + kQuietUs);
        }
        break;
      }
      if (!begin_run(*key, *stock, SessionId{})) {
        break;
      }
    }
  }
}

void Presigner::pump(std::size_t foreground) {
  const std::int64_t now = environment_.now_us();
  if (foreground > 0) {
    foreground_us_ = now;
  }
  stirred_ = stirred_ || (foreground == 0 && foreground_ > 0);
  foreground_ = foreground;
  if (!stirred_ && now < next_us_) {
    return;
  }
  stirred_ = false;
  next_us_ = INT64_MAX;
  pump_orders();
  pump_refill(foreground);
  for (const auto& [id, run] : runs_) {
    next_us_ = std::min(next_us_, run->timer_us());
  }
  for (auto& [key, stock] : stocks_) {
    report(key, *stock);
  }
}

// ---- as member

std::optional<SigningSet> Presigner::signing_set(const Stock& stock,
                                                 const PresignPropose& message) {
  SigningSet out;
  for (const PresignMember& member : message.members) {
    const auto participant = std::ranges::find(stock.participants, member.node, &Participant::node);
    if (participant == stock.participants.end() ||
        (!out.empty() && participant->index <= out.back().index)) {
      return std::nullopt;
    }
    std::uint64_t known = environment_.generation;
    if (member.node != environment_.node) {
      const Certificate* certificate = peers_.certificate(member.node);
      if (certificate == nullptr || peers_.link(member.node) == nullptr) {
        peers_.greet(member.node, true);
        return std::nullopt;
      }
      known = certificate->generation;
    }
    if (known != member.generation) {
      return std::nullopt;
    }
    out.push_back({participant->index, member.node, member.generation});
  }
  return out.size() == stock.threshold && has_member(out, environment_.node)
             ? std::optional(std::move(out))
             : std::nullopt;
}

std::optional<PresignEnd::Reason> Presigner::refusal(const std::string& from,
                                                     const PresignPropose& message, Stock& stock) {
  std::size_t running = 0;
  for (const auto& [id, run] : runs_) {
    running += run->setup().owner == from && run->setup().key == message.key ? 1U : 0U;
  }
  const auto penalty = stock.penalties.find(from);
  const bool punished =
      penalty != stock.penalties.end() && penalty->second.until_us > environment_.now_us();
  if (draining_ || punished || running >= kAtOnceForOwner || peers_.distrusted(from) ||
      stock.pool.size() + runs_.size() >= environment_.settings.presignature_limit) {
    return PresignEnd::Reason::kFull;
  }
  if (zero(message.order)) {
    const bool room = stock.pool.held_for(from) + running < environment_.settings.presignature_pool;
    return room ? std::nullopt : std::optional(PresignEnd::Reason::kFull);
  }
  const auto grant = grants_.find(message.order);
  if (grant == grants_.end() || grant->second.key != message.key ||
      grant->second.until_us <= environment_.now_us()) {
    return PresignEnd::Reason::kOrderUnknown;
  }
  const auto left = grant->second.left.find(from);
  if (left == grant->second.left.end() || left->second == 0) {
    return PresignEnd::Reason::kFull;
  }
  --left->second;
  return std::nullopt;
}

void Presigner::on_propose(const std::string& from, const PresignPropose& message) {
  const auto refuse = [&](PresignEnd::Reason reason) {
    ++environment_.counters.presign_refused;
    (void)peers_.send(from, PresignEnd{message.run, static_cast<std::uint8_t>(reason)}, true);
  };
  const KeyEpoch* key = keys_.find(message.key);
  Stock* known = key == nullptr ? nullptr : stock(*key);
  if (known == nullptr || message.epoch != known->epoch || message.record != known->record) {
    refuse(PresignEnd::Reason::kStranger);
    return;
  }
  std::optional<SigningSet> signers = signing_set(*known, message);
  const bool apart = signers && std::ranges::any_of(*signers, [&](const Signer& signer) {
                       return pairs_.banned(message.key, signer.node);
                     });
  if (!signers || apart || !has_member(*signers, from) || runs_.contains(message.run)) {
    refuse(PresignEnd::Reason::kStranger);
    return;
  }
  if (const auto no = refusal(from, message, *known)) {
    refuse(*no);
    return;
  }
  std::int64_t& trimmed = known->trimmed_us.try_emplace(from, 0).first->second;
  if (environment_.now_us() >= trimmed + kTrimIntervalUs) {
    trimmed = environment_.now_us();
    known->pool.drop_below(from, message.floor, environment_.now_us() - kFloorDelayUs);
  }
  const ParticipantIndex owner = std::ranges::find(*signers, from, &Signer::node)->index;
  auto protocol = make_protocol(*key, *known, message.run, owner);
  if (!protocol) {
    environment_.log(LogLevel::kError, "no presignature can be made: " + protocol.error().reason);
    refuse(PresignEnd::Reason::kFailed);
    return;
  }
  ++environment_.counters.presign_runs;
  auto run = std::make_unique<PresignRun>(environment_, peers_,
                                          PresignRun::Setup{.id = message.run,
                                                            .key = message.key,
                                                            .epoch = message.epoch,
                                                            .record = message.record,
                                                            .signers = *std::move(signers),
                                                            .owner = from,
                                                            .number = message.number,
                                                            .order = message.order},
                                          *std::move(protocol), checks_for(message.key, *known));
  PresignRun& begun = *runs_.emplace(message.run, std::move(run)).first->second;
  begun.accept(message.payload);
  review(message.run);
}

// ---- both

template <class Message, class Body>
bool Presigner::route(const std::string& from, ByteView fields, Body body) {
  std::optional<Message> message = decode_fields<Message>(fields);
  if (!message) {
    return false;
  }
  const SessionId id = message->run;
  const auto run = runs_.find(id);
  if (run == runs_.end()) {
    ++environment_.counters.messages_stray;
    return true;
  }
  if (!has_member(run->second->setup().signers, from)) {
    ++environment_.counters.messages_refused;
    return true;
  }
  body(*run->second, *std::move(message));
  review(id);
  return true;
}

bool Presigner::on_message(const std::string& from, MessageKind kind, ByteView fields) {
  stirred_ = true;
  switch (kind) {
    case MessageKind::kPresignPropose: {
      const auto message = decode_fields<PresignPropose>(fields);
      if (message) {
        on_propose(from, *message);
      }
      return message.has_value();
    }
    case MessageKind::kPresignAccept:
      return route<PresignAccept>(from, fields, [&](PresignRun& run, PresignAccept message) {
        run.on_accept(from, std::move(message));
      });
    case MessageKind::kPresignBegin:
      return route<PresignBegin>(from, fields, [&](PresignRun& run, const PresignBegin& message) {
        run.on_begin(from, message);
      });
    case MessageKind::kPresignRound:
      return route<PresignRound>(from, fields, [&](PresignRun& run, PresignRound message) {
        run.on_round(from, std::move(message));
      });
    case MessageKind::kPresignReady:
      return route<PresignReady>(from, fields,
                                 [&](PresignRun& run, const PresignReady&) { run.on_ready(from); });
    case MessageKind::kPresignEnd: {
      const auto message = decode_fields<PresignEnd>(fields);
      if (message) {
        on_end(from, *message);
      }
      return message.has_value();
    }
    default:
      return false;
  }
}

void Presigner::on_end(const std::string& from, const PresignEnd& message) {
  const auto found = runs_.find(message.run);
  if (found == runs_.end()) {
    // Whoever has finished it already wipes it; only its members may ask for that.
    for (auto& [key, stock] : stocks_) {
      stock->pool.drop_run(message.run, from);
    }
    return;
  }
  const PresignRun& run = *found->second;
  if (!has_member(run.setup().signers, from)) {
    ++environment_.counters.messages_refused;
    return;
  }
  if (!run.owned() && from != run.setup().owner) {
    return;  // the owner hears it as well, and ends the run for everyone
  }
  const Stream* stream = stream_of(run);
  const std::uint32_t failures = stream == nullptr ? 0 : stream->failures;
  std::int64_t delay = 0;
  switch (static_cast<PresignEnd::Reason>(message.reason)) {
    case PresignEnd::Reason::kFull:
      delay = backoff(kFullFirstUs, kFullCapUs, failures);
      break;
    case PresignEnd::Reason::kOrderUnknown:
      delay = backoff(kUnknownFirstUs, kUnknownCapUs, failures);
      break;
    case PresignEnd::Reason::kStranger:
      delay = backoff(kStrangerFirstUs, kStrangerCapUs, failures);
      break;
    case PresignEnd::Reason::kFailed:
    default:
      delay = backoff(kFailedFirstUs, kFailedCapUs, failures);
  }
  failed(run, delay);
  if (run.owned() && run.setup().signers.size() > 2) {
    for (const Signer& signer : run.setup().signers) {
      if (signer.node != environment_.node && signer.node != from) {
        (void)peers_.send(signer.node, message, true);
      }
    }
  }
  forget(found);
}

void Presigner::review(const SessionId& id) {
  const auto found = runs_.find(id);
  if (found == runs_.end() || found->second->state() == PresignRun::State::kMaking) {
    return;
  }
  PresignRun& run = *found->second;
  const PresignRun::Setup& setup = run.setup();
  Stock* known = find(setup.key);
  if (run.state() == PresignRun::State::kFailed) {
    const Abort& abort = *run.failure();
    ++environment_.counters.presign_failed;
    environment_.log(LogLevel::kInfo, "a presignature could not be made: " + abort.reason);
    for (const Signer& signer : setup.signers) {
      if (abort.abort_class != AbortClass::kRecoverable &&
          std::ranges::find(abort.culprits, signer.index) != abort.culprits.end()) {
        ++environment_.counters.misbehaviours;
        peers_.set_distrusted(signer.node);
        environment_.log(LogLevel::kWarning,
                         "node " + signer.node + " misbehaved: " + abort.reason);
        if (abort.abort_class == AbortClass::kBurn && signer.node != environment_.node) {
          pairs_.burn(setup.key, signer.node);  // whoever called cuts the rest: Pairs::take_burnt()
        }
      }
      if (signer.node != environment_.node) {
        (void)peers_.send(signer.node,
                          PresignEnd{id, static_cast<std::uint8_t>(PresignEnd::Reason::kFailed)},
                          true);
      }
    }
    if (known != nullptr && !run.owned()) {
      Penalty& penalty = known->penalties[setup.owner];
      penalty.until_us =
          environment_.now_us() + backoff(kFailedFirstUs, kFailedCapUs, penalty.failures++);
    }
    failed(run, 0);
    forget(found);
    return;
  }
  if (known != nullptr) {
    known->penalties.erase(setup.owner);
    known->pool.add({.run = id,
                     .signers = setup.signers,
                     .owner = setup.owner,
                     .number = setup.number,
                     .made_us = environment_.now_us(),
                     .presignature = run.take()});
    if (Stream* stream = stream_of(run)) {
      stream->failures = 0;
    }
  }
  ++environment_.counters.presignatures_made;
  if (run.owned() && !zero(setup.order)) {
    if (const auto order = orders_.find(setup.order); order != orders_.end()) {
      ++order->second.made;
      order->second.stuck_us = environment_.now_us() + kStuckUs;
    }
  }
  forget(found);
}

Presigner::Stream* Presigner::stream_of(const PresignRun& run) {
  Stock* known = run.owned() ? find(run.setup().key) : nullptr;
  if (known == nullptr) {
    return nullptr;
  }
  const auto found = std::ranges::find_if(known->streams, [&](const Stream& stream) {
    return std::ranges::equal(stream.members, run.setup().signers, {}, &Participant::node,
                              &Signer::node);
  });
  return found == known->streams.end() ? nullptr : &*found;
}

void Presigner::failed(const PresignRun& run, std::int64_t delay_us) {
  if (Stream* stream = stream_of(run)) {
    const std::int64_t delay =
        delay_us != 0 ? delay_us : backoff(kFailedFirstUs, kFailedCapUs, stream->failures);
    ++stream->failures;
    stream->not_before_us = environment_.now_us() + delay;
  }
}

void Presigner::forget(std::map<SessionId, std::unique_ptr<PresignRun>>::iterator found) {
  if (Stream* stream = stream_of(*found->second)) {
    --stream->running;
  }
  if (found->second->owned()) {
    if (const auto order = orders_.find(found->second->setup().order); order != orders_.end()) {
      --order->second.running;
    }
  }
  runs_.erase(found);
  stirred_ = true;
}

void Presigner::on_undelivered(const std::string& node) {
  std::vector<SessionId> lost;
  for (const auto& [id, run] : runs_) {
    if (has_member(run->setup().signers, node)) {
      lost.push_back(id);
    }
  }
  for (const SessionId& id : lost) {
    runs_.at(id)->time_out();
    review(id);
  }
}

void Presigner::on_timer() {
  const std::int64_t now = environment_.now_us();
  std::vector<SessionId> late;
  for (const auto& [id, run] : runs_) {
    if (run->timer_us() <= now) {
      late.push_back(id);
    }
  }
  for (const SessionId& id : late) {
    runs_.at(id)->time_out();
    review(id);
  }
  std::erase_if(grants_, [&](const auto& entry) { return entry.second.until_us <= now; });
}

}  // namespace cosigner::worker
