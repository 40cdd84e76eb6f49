// From a Work frame to a session or an answer. The order of checks is the design's: authorisation,
// stored success, expiry. See engine_impl.h.

#include <algorithm>

#include "worker/session/engine_impl.h"

namespace cosigner::worker {

namespace {

Error store_failed(std::string message) {
  return retryable(ErrorCode::kStorageFailed, std::move(message), 1000);
}

/// Of a success.
std::uint64_t epoch_of(const RequestAnswer& answer) {
  if (const auto* sign = std::get_if<SignResult>(&answer.content)) {
    return sign->epoch;
  }
  if (const auto* made = std::get_if<PresignResult>(&answer.content)) {
    return made->epoch;
  }
  return std::get<KeygenResult>(answer.content).epoch;
}

}  // namespace

void SessionEngine::Impl::answer(std::uint64_t work, const Answered& how, const SessionId& session,
                                 std::string_view key, std::uint64_t epoch, ByteVector bytes) {
  if (!count(work, how)) {
    return;
  }
  environment_.effects.emplace_back(ipc::Answer{.request = work,
                                                .key = std::string(key),
                                                .epoch = epoch,
                                                .session = session,
                                                .answer = std::move(bytes)});
}

bool SessionEngine::Impl::count(std::uint64_t work, const Answered& how) {
  const auto taken = taken_us_.extract(work);
  if (!taken) {
    return false;
  }
  environment_.tally.request(how.request == nullptr ? "" : operation_name(how.request->operation),
                             how.request == nullptr ? "" : scheme_name(how.request->scheme),
                             how.outcome, environment_.now_us() - taken.mapped());
  return true;
}

void SessionEngine::Impl::answer_error(std::uint64_t work, const ParsedRequest& parsed,
                                       Error error) {
  ++environment_.counters.requests_refused;
  const std::string_view outcome = error_name(error.code);
  answer(work, {&parsed.request, outcome}, parsed.session, parsed.request.key, 0,
         encode_answer(error_answer(parsed.request, parsed.session, std::move(error))));
}

void SessionEngine::Impl::on_work(const ipc::Work& work) {
  taken_us_.emplace(work.request, environment_.now_us());
  Expected<ParsedRequest> parsed =
      parse_request(work.envelope, environment_.settings.max_envelope_bytes);
  if (!parsed) {
    ++environment_.counters.requests_refused;
    const SessionId session = session_of_refused(work.envelope);
    const std::string_view outcome = error_name(parsed.error().code);
    answer(work.request, {nullptr, outcome}, session, {}, 0,
           encode_answer(RequestAnswer{session, {}, {}, {}, std::move(parsed.error())}));
    return;
  }
  current_activity.touch_session(parsed->session);
  if (parsed->request.user != environment_.user) {
    answer_error(work.request, *parsed,
                 fail(ErrorCode::kUnauthorized, "this worker serves another user").error());
    return;
  }
  if (const auto allowed = authorise(*parsed, environment_.cluster, initiators_); !allowed) {
    answer_error(work.request, *parsed, allowed.error());
    return;
  }
  if (const auto issued = check_issued(parsed->request, environment_.wall_ms()); !issued) {
    answer_error(work.request, *parsed, issued.error());
    return;
  }
  const auto overloaded = [&] {
    answer_error(work.request, *parsed,
                 retryable(ErrorCode::kOverloaded, "too many callers wait for this request", 1000));
  };
  if (std::vector<std::uint64_t>* waiters = waiters_of(parsed->session)) {
    ++environment_.counters.requests_joined;
    if (waiters->size() >= kMaxWaiters) {
      overloaded();
      return;
    }
    waiters->push_back(work.request);
    return;
  }
  for (auto& [order, lookup] : lookups_) {
    if (lookup.parsed.session == parsed->session) {
      ++environment_.counters.requests_joined;
      if (lookup.waiters.size() >= kMaxWaiters) {
        overloaded();
        return;
      }
      lookup.waiters.push_back(work.request);
      return;
    }
  }
  if (serve_stored(work.request, *parsed)) {
    return;
  }
  if (const SessionId* owner = results_.owner(parsed->request);
      owner != nullptr && *owner != parsed->session) {
    answer_error(work.request, *parsed,
                 fail(ErrorCode::kReplayed,
                      "another request of this initiator has the same id; use a fresh random id")
                     .error());
    return;
  }
  if (draining_) {
    answer_error(work.request, *parsed,
                 retryable(ErrorCode::kShuttingDown, "this worker takes no new requests", 1000));
    return;
  }
  if (!results_.needs_lookup(parsed->request) || results_.owner(parsed->request) != nullptr) {
    admit({work.request}, *std::move(parsed), work.envelope);
    return;
  }
  if (lookups_.size() + running_.size() >= environment_.settings.max_sessions) {
    answer_error(work.request, *parsed, admissible(*parsed).error());
    return;
  }
  const std::uint64_t order = ++environment_.last_order;
  environment_.effects.emplace_back(ipc::ResultLookup{.order = order,
                                                      .session = parsed->session,
                                                      .initiator = parsed->request.initiator,
                                                      .id = parsed->request.id});
  lookups_.emplace(
      order,
      Lookup{*std::move(parsed), work.envelope, {work.request}, environment_.now_us() + kLookupUs});
}

std::vector<std::uint64_t>* SessionEngine::Impl::waiters_of(const SessionId& session) {
  if (Running* running = find(session)) {
    return &running->waiters;
  }
  const auto order = presign_orders_.find(session);
  return order == presign_orders_.end() ? nullptr : &order->second.waiters;
}

bool SessionEngine::Impl::serve_stored(std::uint64_t work, const ParsedRequest& parsed) {
  if (const Results::Stored* stored = results_.find(parsed.session)) {
    ++environment_.counters.results_served;
    answer(work, {&parsed.request, "ok"}, parsed.session, stored->key, stored->epoch,
           to_vector(stored->answer));
    return true;
  }
  // What a key generation made is as durable as the key.
  const KeyEpoch* key = keys_.find(parsed.request.key);
  if (parsed.request.operation == Operation::kKeygen && key != nullptr &&
      key->record.session == parsed.session) {
    if (std::optional<KeygenResult> result = Commits::result_of(*key)) {
      ++environment_.counters.results_served;
      const RequestAnswer content{parsed.session,
                                  std::string(operation_name(parsed.request.operation)),
                                  parsed.request.user, parsed.request.key, *std::move(result)};
      answer(work, {&parsed.request, "ok"}, parsed.session, parsed.request.key, key->record.epoch,
             encode_answer(content));
      return true;
    }
  }
  return false;
}

void SessionEngine::Impl::on_result_found(const ipc::ResultFound& found) {
  const auto entry = lookups_.find(found.order);
  if (entry == lookups_.end()) {
    return;
  }
  Lookup lookup = std::move(entry->second);
  lookups_.erase(entry);
  if (found.found) {
    const Expected<RequestAnswer> stored = decode_answer(found.answer);
    const bool usable = stored && stored->ok() && stored->session == lookup.parsed.session;
    if (!usable) {
      environment_.log(LogLevel::kError, "the stored result of a request cannot be read",
                       &lookup.parsed.session);
    }
    std::uint64_t epoch = 0;
    if (usable) {
      epoch = epoch_of(*stored);
      results_.remember(lookup.parsed.request, lookup.parsed.session, found.answer, epoch);
    }
    for (const std::uint64_t work : lookup.waiters) {
      if (usable) {
        ++environment_.counters.results_served;
        answer(work, {&lookup.parsed.request, "ok"}, lookup.parsed.session,
               lookup.parsed.request.key, epoch, found.answer);
      } else {
        answer_error(work, lookup.parsed,
                     Error{.code = ErrorCode::kStorageFailed,
                           .message = "this request succeeded before, and this node cannot read "
                                      "the stored result: ask another node",
                           .may_have_executed = true});
      }
    }
    return;
  }
  if (found.failed) {
    for (const std::uint64_t work : lookup.waiters) {
      answer_error(work, lookup.parsed, store_failed("this node's store cannot be read now"));
    }
    return;
  }
  if (found.replayed) {
    for (const std::uint64_t work : lookup.waiters) {
      answer_error(work, lookup.parsed,
                   fail(ErrorCode::kReplayed,
                        "another request of this initiator has the same id; use a fresh random id")
                       .error());
    }
    return;
  }
  admit(std::move(lookup.waiters), std::move(lookup.parsed), std::move(lookup.envelope));
}

Expected<void> SessionEngine::Impl::admissible(const ParsedRequest& parsed) const {
  const Request& request = parsed.request;
  if (const SessionId* owner = results_.owner(request);
      owner != nullptr && *owner != parsed.session) {
    return fail(ErrorCode::kReplayed,
                "another request of this initiator has the same id; use a fresh random id");
  }
  if (const auto fresh = check_expiry(request, environment_.wall_ms()); !fresh) {
    return fresh;
  }
  if (running_.size() + presign_orders_.size() + lookups_.size() >=
      environment_.settings.max_sessions) {
    return std::unexpected(retryable(ErrorCode::kOverloaded,
                                     "this user has " + std::to_string(running_.size()) +
                                         " sessions running, as many as are allowed",
                                     100));
  }
  const bool known = keys_.find(request.key) != nullptr;
  if (request.operation != Operation::kKeygen) {
    if (request.operation == Operation::kPresign && !known && commits_.pending(request.key)) {
      return std::unexpected(
          retryable(ErrorCode::kConflict, "key " + request.key + " is being made", 1000));
    }
    if (!known && !commits_.pending(request.key)) {
      return fail(ErrorCode::kUnknownKey,
                  "user " + request.user + " has no key " + request.key + " on node " +
                      environment_.node +
                      "; other nodes that have it sign without this one, which takes no part in it "
                      "or has a store older than the key");
    }
    return {};
  }
  for (const std::string& node : request.participants) {
    if (!peers_.known(node)) {
      return fail(ErrorCode::kBadRequest, "participant " + node + " is no node of this cluster");
    }
  }
  if (std::ranges::find(request.participants, environment_.node) == request.participants.end()) {
    return fail(ErrorCode::kBadRequest,
                "node " + environment_.node + " is no participant of this key");
  }
  if (known) {
    return fail(ErrorCode::kAlreadyExists, "a key " + request.key + " exists");
  }
  const SessionId* committing = commits_.session_of(request.key);
  const bool making = std::ranges::any_of(running_, [&](const auto& entry) {
    const Request& other = entry.second->session.request();
    return other.operation == Operation::kKeygen && other.key == request.key;
  });
  if (making || (committing != nullptr && *committing != parsed.session)) {
    return std::unexpected(
        retryable(ErrorCode::kConflict, "another request is making key " + request.key, 1000));
  }
  return {};
}

void SessionEngine::Impl::admit(std::vector<std::uint64_t> waiters, ParsedRequest parsed,
                                ByteVector envelope) {
  if (const auto allowed = admissible(parsed); !allowed) {
    if (allowed.error().code != ErrorCode::kReplayed &&
        allowed.error().code != ErrorCode::kOverloaded) {
      results_.remember_failure(parsed.session, allowed.error());
    }
    for (const std::uint64_t work : waiters) {
      answer_error(work, parsed, allowed.error());
    }
    return;
  }
  const SessionId id = parsed.session;
  results_.claim(parsed.request, id);
  results_.forget_failure(id);
  ++environment_.counters.sessions_started;
  if (parsed.request.operation == Operation::kPresign) {
    presign_orders_.emplace(id, PresignOrder{parsed.request, std::move(waiters)});
    const bool begun = presign([&](Presigner& presigner) {
      presigner.begin_order(parsed.request, id, std::move(envelope));
    });
    if (!begun) {
      presigner_.fail_order(
          id, retryable(ErrorCode::kHandlerFailed, "an exception ended this request"));
    }
    finish_orders();
    return;
  }
  auto running = std::make_unique<Running>(Running{
      Session(parts(), std::move(parsed.request), id, std::move(envelope)), std::move(waiters)});
  running_.emplace(id, std::move(running));
  touch(id, [this, &id](Session& session) {
    const SessionId* committing = commits_.session_of(session.request().key);
    if (session.request().operation == Operation::kKeygen && committing != nullptr &&
        *committing == id) {
      session.resume_commit();  // an earlier worker, or an earlier run, got that far
      return;
    }
    session.begin();
  });
  take_early_hellos(id);
}

void SessionEngine::Impl::take_early_hellos(const SessionId& id) {
  for (auto& [node, entry] : early_.take(id)) {
    const std::string from = node;
    touch(id, [&](Session& session) {
      session.on_hello(from, std::move(entry.hello), std::move(entry.decoded));
    });
  }
}

void SessionEngine::Impl::expire_lookups() {
  while (!lookups_.empty() && lookups_.begin()->second.until_us <= environment_.now_us()) {
    const Lookup lookup = std::move(lookups_.begin()->second);
    lookups_.erase(lookups_.begin());
    for (const std::uint64_t work : lookup.waiters) {
      answer_error(work, lookup.parsed, store_failed("the store did not answer in time"));
    }
  }
}

void SessionEngine::Impl::drain(std::int64_t deadline_us) {
  draining_ = true;
  presigner_.drain();
  drain_deadline_us_ = std::min(drain_deadline_us_, deadline_us);
}

}  // namespace cosigner::worker
