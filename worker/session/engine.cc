// The engine's beginning, its time and its certificate, what it wants done, and its public face.

#include "worker/session/engine.h"

#include <algorithm>
#include <stdexcept>

#include "crypto/base/burn_stack.h"
#include "worker/session/engine_impl.h"

namespace cosigner::worker {
namespace {

constexpr std::int64_t kRenewBeforeS = 900;  ///< of the hour a certificate lives
constexpr std::int64_t kRenewAgainUs = 60'000'000;

Certificate own_certificate(const ipc::WorkerStart& start) {
  Checked<Certificate> certificate = decode_certificate(start.certificate);
  if (!certificate || certificate->cluster != start.cluster || certificate->node != start.node ||
      certificate->user != start.user || certificate->generation != start.generation) {
    throw std::invalid_argument("the certificate in WorkerStart is not this worker's");
  }
  return *std::move(certificate);
}

AeadKey sealing_key(const ipc::WorkerStart& start) {
  std::optional<AeadKey> key = AeadKey::from(as_view(start.sealing_key));
  if (!key) {
    throw std::invalid_argument("the sealing key in WorkerStart does not have 32 bytes");
  }
  return *std::move(key);
}

}  // namespace

SessionEngine::Impl::Impl(ipc::WorkerStart start, WorkerKeys keys, Random& random,
                          CheckNotices& checks, Now now, ProtocolFactory* protocols)
    : environment_{.cluster = start.cluster,
                   .node = start.node,
                   .user = start.user,
                   .generation = start.generation,
                   .settings = start.settings,
                   .random = random,
                   .now = now,
                   .counters = {},
                   .tally = {},
                   .effects = {}},
      signing_key_(std::move(keys.signing)),
      own_certificate_(own_certificate(start)),
      initiators_(std::move(start.initiators)),
      protocols_(protocols == nullptr ? default_protocols_ : *protocols),
      checks_(checks),
      peers_(environment_, start, keys.channel, own_certificate_),
      keys_(sealing_key(start)),
      commits_(environment_, peers_, keys_),
      pairs_(environment_, peers_, keys_, std::move(start.pairs)),
      presigner_(environment_, peers_, keys_, pairs_, protocols_, checks_),
      // A user without a key on this node has never had a success here: nothing to look up.
      results_(start.keys.empty() ? std::nullopt : std::optional(environment_.wall_ms())) {
  if (!peers_.known(environment_.node)) {
    throw std::invalid_argument("WorkerStart does not list this node among the peers");
  }
  for (ipc::StoredKey& stored : start.keys) {
    const bool pending = stored.state == ipc::KeyState::kPending;
    const std::string name = stored.key;
    Expected<KeyEpoch> epoch =
        KeyEpoch::from(std::move(stored), environment_.cluster, environment_.user);
    if (!epoch) {
      environment_.log(LogLevel::kError,
                       "key " + name + " cannot be used: " + epoch.error().message);
    } else if (pending) {
      commits_.resume(*std::move(epoch));
    } else {
      for (const auto& [index, node] : epoch->record.participants) {
        if (!peers_.known(node)) {
          std::string line = "node ";
          line.append(node).append(", a participant of key ").append(name);
          environment_.log(
              LogLevel::kWarning,
              line.append(", is not among this node's peers: it takes part in nothing"));
        }
      }
      keys_.add(*std::move(epoch));
    }
  }
  pairs_.erase_banned();
  const auto wall_s = static_cast<std::int64_t>(environment_.wall_ms() / 1000);
  const auto until_s = static_cast<std::int64_t>(own_certificate_.not_after);
  renew_us_ =
      now.monotonic_us + std::max<std::int64_t>(until_s - kRenewBeforeS - wall_s, 0) * 1'000'000;
}

void SessionEngine::Impl::on_stored(const ipc::Stored& stored) {
  if (commits_.on_stored(stored)) {
    run_commit_events();
  } else {
    static_cast<void>(pairs_.on_stored(stored));
  }
}

void SessionEngine::Impl::on_renewed(const ipc::Renewed& renewed) {
  Checked<Certificate> certificate = decode_certificate(renewed.certificate);
  if (!certificate || certificate->cluster != own_certificate_.cluster ||
      certificate->node != own_certificate_.node || certificate->user != own_certificate_.user ||
      certificate->generation != own_certificate_.generation ||
      certificate->x25519 != own_certificate_.x25519 ||
      certificate->ed25519 != own_certificate_.ed25519) {
    environment_.log(LogLevel::kError, "the renewed certificate is not this worker's");
    return;
  }
  own_certificate_ = *std::move(certificate);
  peers_.set_own_certificate(renewed.certificate);
  const auto wall_s = static_cast<std::int64_t>(environment_.wall_ms() / 1000);
  const auto until_s = static_cast<std::int64_t>(own_certificate_.not_after);
  const std::int64_t left_s = std::max<std::int64_t>(until_s - kRenewBeforeS - wall_s, 60);
  renew_us_ = environment_.now_us() + left_s * 1'000'000;
}

void SessionEngine::Impl::on_reconfigured(ipc::Reconfigured change) {
  environment_.settings = change.settings;
  initiators_ = InitiatorTable(std::move(change.initiators));
  for (const std::string& node : peers_.set_list(std::move(change.peers))) {
    on_presence(node, false);
  }
}

void SessionEngine::Impl::renew_if_due() {
  // The monotonic clock stands still while a machine sleeps, the certificate's hour does not.
  const auto wall_s = static_cast<std::int64_t>(environment_.wall_ms() / 1000);
  const bool near_its_end =
      wall_s + kRenewBeforeS >= static_cast<std::int64_t>(own_certificate_.not_after) &&
      environment_.now_us() >= renew_asked_us_ + kRenewAgainUs;
  if (environment_.now_us() >= renew_us_ || near_its_end) {
    renew_asked_us_ = environment_.now_us();
    renew_us_ = environment_.now_us() + kRenewAgainUs;
    environment_.effects.emplace_back(ipc::RenewAsk{.not_after = own_certificate_.not_after});
  }
}

void SessionEngine::Impl::on_timer() {
  const std::int64_t now = environment_.now_us();
  // While nothing may leave, no packet is late.
  for (const std::string& node : pairs_.muted() ? std::vector<std::string>() : peers_.on_timer()) {
    touch_all([&](Session& session) {
      if (session.is_participant(node)) {
        session.on_undelivered(node);
      }
    });
    presign([&](Presigner& presigner) { presigner.on_undelivered(node); });
  }
  while (!timers_.empty() && timers_.begin()->first <= now) {
    const auto [due, id] = *timers_.begin();
    touch(id, [](Session& session) { session.on_timer(); });
    if (!timers_.empty() && timers_.begin()->first == due && timers_.begin()->second == id) {
      // It has nothing more to do at this instant; look again a millisecond later rather than spin.
      Running* running = find(id);
      timers_.erase(timers_.begin());
      timers_.emplace(now + 1000, id);
      running->scheduled_us = now + 1000;
    }
  }
  commits_.on_timer();
  pairs_.on_timer();
  presign([](Presigner& presigner) { presigner.on_timer(); });
  expire_lookups();
  renew_if_due();
  if (now >= drain_deadline_us_) {
    presigner_.end_orders(
        retryable(ErrorCode::kShuttingDown, "the worker was stopped before this request was done"));
    touch_all([](Session& session) {
      session.fail(ErrorCode::kShuttingDown, "the worker was stopped before this session ended");
    });
    for (auto& [order, lookup] : lookups_) {
      for (const std::uint64_t work : lookup.waiters) {
        answer_error(work, lookup.parsed,
                     retryable(ErrorCode::kShuttingDown,
                               "the worker was stopped before this request was looked up"));
      }
    }
    lookups_.clear();
    drain_deadline_us_ = INT64_MAX;
  }
}

std::optional<std::int64_t> SessionEngine::Impl::next_deadline() const {
  std::int64_t next = std::min(renew_us_, drain_deadline_us_);
  if (!timers_.empty()) {
    next = std::min(next, timers_.begin()->first);
  }
  if (!lookups_.empty()) {
    next = std::min(next, lookups_.begin()->second.until_us);
  }
  if (!pairs_.muted()) {
    next = std::min(next, peers_.next_deadline().value_or(INT64_MAX));
  }
  next = std::min(next, commits_.next_deadline().value_or(INT64_MAX));
  next = std::min(next, pairs_.next_deadline().value_or(INT64_MAX));
  next = std::min(next, presigner_.next_deadline());
  return next;
}

std::vector<Effect> SessionEngine::Impl::take_effects() {
  presign([this](Presigner& presigner) { presigner.pump(running_.size() + lookups_.size()); });
  finish_orders();
  if (!pairs_.muted()) {
    peers_.flush();
    if (held_.empty()) {
      return std::exchange(environment_.effects, {});
    }
    std::vector<Effect> out = std::exchange(held_, {});
    std::ranges::move(std::exchange(environment_.effects, {}), std::back_inserter(out));
    return out;
  }
  std::vector<Effect> out;
  for (Effect& effect : std::exchange(environment_.effects, {})) {
    const bool seen_outside = std::holds_alternative<Publish>(effect) ||
                              std::holds_alternative<ipc::Answer>(effect) ||
                              std::holds_alternative<ipc::Wake>(effect) ||
                              std::holds_alternative<ipc::PresignatureStock>(effect);
    (seen_outside ? held_ : out).push_back(std::move(effect));
  }
  return out;
}

bool SessionEngine::Impl::idle() const {
  return taken_us_.empty() && running_.empty() && lookups_.empty() && commits_.orders() == 0 &&
         presigner_.orders() == 0 && presigner_.runs() == 0 && pairs_.orders() == 0 &&
         !pairs_.muted() && held_.empty() && peers_.quiet() && environment_.effects.empty();
}

// ---- the public face

SessionEngine::SessionEngine(ipc::WorkerStart start, WorkerKeys keys, Random& random,
                             CheckNotices& checks, Now now, ProtocolFactory* protocols)
    : impl_(std::make_unique<Impl>(std::move(start), std::move(keys), random, checks, now,
                                   protocols)) {}
SessionEngine::~SessionEngine() = default;

void SessionEngine::on_work(Now now, const ipc::Work& work) {
  impl_->at(now);
  try {
    impl_->on_work(work);
  } catch (...) {
    impl_->disown(work.request);
    throw;
  }
}
void SessionEngine::on_packet(Now now, std::string_view from, ByteView payload) {
  impl_->at(now);
  impl_->on_packet(std::string(from), payload);
  impl_->begin_renewals();
}
void SessionEngine::on_no_responders(Now now, std::string_view node, std::uint64_t packet) {
  impl_->at(now);
  impl_->on_no_responders(node, packet);
}
void SessionEngine::on_publish_refused() {
  ++impl_->environment().counters.publishes_refused;
}
void SessionEngine::on_presence(Now now, std::string_view node, bool present) {
  impl_->at(now);
  impl_->on_presence(node, present);
}
void SessionEngine::on_stored(Now now, const ipc::Stored& stored) {
  impl_->at(now);
  impl_->on_stored(stored);
}
void SessionEngine::on_result_found(Now now, const ipc::ResultFound& found) {
  impl_->at(now);
  impl_->on_result_found(found);
}
void SessionEngine::on_renewed(Now now, const ipc::Renewed& renewed) {
  impl_->at(now);
  impl_->on_renewed(renewed);
}
void SessionEngine::on_renew_pair(Now now, const ipc::RenewPair& order) {
  impl_->at(now);
  impl_->on_renew_pair(order);
}
ipc::KeyVerified SessionEngine::verify(const ipc::VerifyKey& ask) const {
  const ipc::KeyVerified said{.number = ask.number, .fault = impl_->fault_of(ask.key)};
  burn_stack();  // the share's multiplication leaves its digits there
  return said;
}
void SessionEngine::on_reconfigured(Now now, ipc::Reconfigured change) {
  impl_->at(now);
  impl_->on_reconfigured(std::move(change));
}
void SessionEngine::on_tick(Now now) {
  impl_->at(now);
  impl_->on_timer();
  impl_->forget_old();
}
void SessionEngine::on_timer(Now now) {
  impl_->at(now);
  impl_->on_timer();
}
void SessionEngine::drain(Now now, std::int64_t deadline_us) {
  impl_->at(now);
  impl_->drain(deadline_us);
}

std::optional<std::int64_t> SessionEngine::next_deadline() const {
  return impl_->next_deadline();
}
std::vector<Effect> SessionEngine::take_effects() {
  return impl_->take_effects();
}
std::uint32_t SessionEngine::in_flight() const {
  return impl_->in_flight();
}
std::uint32_t SessionEngine::sessions() const {
  return impl_->sessions();
}
bool SessionEngine::idle() const {
  return impl_->idle();
}
SessionEngine::Presignatures SessionEngine::presignatures(std::string_view key) const {
  const Presigner::Depth depth = impl_->presigner().depth(key);
  return {depth.ready, depth.held};
}
bool SessionEngine::counted() const {
  const Environment& environment = impl_->environment();
  return !impl_->muted() && !environment.tally.empty(environment.counters);
}
std::optional<ipc::WorkerMetrics> SessionEngine::take_metrics() {
  if (!counted()) {
    return std::nullopt;
  }
  Environment& environment = impl_->environment();
  return environment.tally.take(environment.counters);
}
const Counters& SessionEngine::counters() const {
  return impl_->environment().counters;
}

}  // namespace cosigner::worker
