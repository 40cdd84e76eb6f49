// What becomes of sessions: after every input they are settled, their keys committed, what waited
// for a key begun, those with a burnt pair cut, and who waited for them answered.

#include <algorithm>

#include "worker/session/engine_impl.h"

namespace cosigner::worker {

void SessionEngine::Impl::settle(const SessionId& id) {
  const auto found = running_.find(id);
  if (found == running_.end()) {
    return;
  }
  Running& running = *found->second;
  if (const std::optional<KeyOutcome> key = running.session.take_key()) {
    begin_commit(running.session, *key);
  }
  if (running.session.finished()) {
    const std::unique_ptr<Running> done = std::move(found->second);
    running_.erase(found);
    timers_.erase({done->scheduled_us, id});
    if (!finish_renewal(done->session)) {
      finish(done->session.request(), id, done->session.take_outcome(), done->waiters);
    }
    return;
  }
  schedule(id, running);
}

void SessionEngine::Impl::schedule(const SessionId& id, Running& running) {
  const std::int64_t due = running.session.next_deadline();
  if (due != running.scheduled_us) {
    timers_.erase({running.scheduled_us, id});
    timers_.emplace(due, id);
    running.scheduled_us = due;
  }
}

void SessionEngine::Impl::begin_commit(Session& session, const KeyOutcome& outcome) {
  const Request& request = session.request();
  KeyRecord record;
  record.cluster = environment_.cluster;
  record.user = environment_.user;
  record.key = request.key;
  record.epoch = 1;
  record.session = session.id();
  for (const Participant& participant : session.participants()) {
    record.participants.emplace_back(participant.index, participant.node);
  }
  if (const auto set = set_public_part(record, outcome.record); !set) {
    session.fail(ErrorCode::kInternal, set.error().message);
    return;
  }
  commits_.begin(session.id(), session.attempt(), std::move(record), outcome.secret);
}

void SessionEngine::Impl::run_commit_events() {
  for (Commits::Event& event : commits_.take_events()) {
    touch(event.session, [&](Session& session) {
      if (session.phase() != Session::Phase::kCommitting) {
        return;
      }
      switch (event.kind) {
        case Commits::Event::Kind::kActive:
          if (event.result) {
            session.committed(*std::move(event.result));
          } else {
            session.fail(ErrorCode::kInternal, "the commit certificate cannot be read");
          }
          return;
        case Commits::Event::Kind::kRefused:
          session.commit_refused(event.by);
          return;
        case Commits::Event::Kind::kFailed:
          if (event.error.code == ErrorCode::kConflict) {
            session.commit_refused(environment_.node);  // this node has refused that very record
          } else {
            session.fail(event.error);
          }
          return;
      }
    });
    const bool active = keys_.find(event.key) != nullptr;
    presigner_.stir();
    // Signatures that wait for this key.
    touch_all([&](Session& session) {
      if (session.phase() != Session::Phase::kWaiting || session.request().key != event.key) {
        return;
      }
      if (active) {
        session.begin();
      } else if (!commits_.pending(event.key)) {
        session.fail(ErrorCode::kUnknownKey, "the making of key " + event.key + " failed");
      }
    });
    if (active) {
      std::vector<SessionId> begun;
      for (const auto& [id, running] : running_) {
        if (running->session.request().key == event.key) {
          begun.push_back(id);
        }
      }
      std::ranges::sort(begun);
      for (const SessionId& id : begun) {
        take_early_hellos(id);
      }
    }
  }
}

void SessionEngine::Impl::cut_burnt() {
  for (const Pairs::Name& pair : pairs_.take_burnt()) {
    // Every presignature with that node goes, those of other keys as well: they are soon made
    // again.
    presign([&](Presigner& presigner) { presigner.forget_node(pair.node); });
    touch_all([&](Session& session) {
      if (session.request().key == pair.key && session.is_participant(pair.node)) {
        session.on_burnt(pair.node);
      }
    });
  }
}

void SessionEngine::Impl::begin_renewals() {
  for (const Pairs::Name& pair : pairs_.take_begins()) {
    const KeyEpoch* key = keys_.find(pair.key);
    const SessionId id = renewal_session(environment_.cluster, environment_.user, *key,
                                         environment_.node, pair.node);
    if (draining_ || find(id) != nullptr || running_.size() >= environment_.settings.max_sessions) {
      pairs_.ended(pair);
      continue;
    }
    ++environment_.counters.sessions_started;
    running_.emplace(id,
                     std::make_unique<Running>(Running{Session(parts(), *key, pair.node, id), {}}));
    touch(id, [](Session& session) { session.begin(); });
    take_early_hellos(id);
  }
}

bool SessionEngine::Impl::finish_renewal(Session& session) {
  if (const std::optional<std::string>& peer = session.renews()) {
    const Pairs::Name pair{session.request().key, *peer};
    pairs_.ended(pair);
    SessionOutcome outcome = session.take_outcome();
    if (const auto* made = std::get_if<RenewedPair>(&outcome)) {
      ++environment_.counters.sessions_succeeded;
      pairs_.renewed(pair, as_view(made->secret));
    } else {
      ++environment_.counters.sessions_failed;
      environment_.log(LogLevel::kWarning,
                       "the renewal of key " + pair.key + " with node " + pair.node +
                           " came to nothing: " + std::get<Error>(outcome).message,
                       &session.id());
    }
    return true;
  }
  return false;
}

void SessionEngine::Impl::finish(const Request& request, const SessionId& id,
                                 SessionOutcome outcome,
                                 const std::vector<std::uint64_t>& waiters) {
  RequestAnswer content{id, std::string(operation_name(request.operation)), request.user,
                        request.key, Error{}};
  std::uint64_t epoch = 0;
  std::string_view counted_as = "ok";
  if (auto* error = std::get_if<Error>(&outcome)) {
    ++environment_.counters.sessions_failed;
    counted_as = error_name(error->code);
    results_.remember_failure(id, *error);
    content.content = std::move(*error);
  } else if (auto* sign = std::get_if<SignResult>(&outcome)) {
    epoch = sign->epoch;
    content.content = std::move(*sign);
  } else if (auto* made = std::get_if<PresignResult>(&outcome)) {
    epoch = made->epoch;
    content.content = std::move(*made);
  } else {
    epoch = std::get<KeygenResult>(outcome).epoch;
    content.content = std::get<KeygenResult>(std::move(outcome));
  }
  ByteVector bytes = encode_answer(content);
  if (content.ok()) {
    ++environment_.counters.sessions_succeeded;
    results_.remember(request, id, bytes, epoch);
    environment_.effects.emplace_back(
        ipc::StoreResult{.order = 0,
                         .session = id,
                         .initiator = request.initiator,
                         .id = request.id,
                         .keep_until_ms = request.expires_at_ms + Results::kKeepResultMs,
                         .answer = bytes});
  }
  for (const std::uint64_t work : waiters) {
    answer(work, {&request, counted_as}, id, request.key, epoch, bytes);
  }
}

void SessionEngine::Impl::finish_orders() {
  for (Presigner::Done& done : presigner_.take_done()) {
    const auto found = presign_orders_.find(done.order);
    if (found == presign_orders_.end()) {
      continue;
    }
    const PresignOrder order = std::move(found->second);
    presign_orders_.erase(found);
    SessionOutcome outcome = std::visit(
        [](auto& content) -> SessionOutcome { return std::move(content); }, done.outcome);
    finish(order.request, done.order, std::move(outcome), order.waiters);
  }
}

}  // namespace cosigner::worker
