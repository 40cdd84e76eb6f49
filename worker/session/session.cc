#include "worker/session/session.h"

#include <algorithm>

namespace cosigner::worker {

namespace {

constexpr std::int64_t kMaxSignTimerUs = 2'000'000;
/// A commit takes some milliseconds and one fsync on each node; who is silent for this long is
/// likely to have died after its promise and to sit there without a worker.
constexpr std::int64_t kWakeCommitterUs = 500'000;

}  // namespace

Session::Session(Parts parts, Request request, const SessionId& id, ByteVector envelope)
    : parts_(parts),
      environment_(parts.environment),
      peers_(parts.peers),
      request_(std::move(request)),
      id_(id),
      envelope_(std::move(envelope)),
      run_(++environment_.last_run),
      began_us_(environment_.now_us()) {
  const std::uint64_t now_ms = environment_.wall_ms();
  const std::uint64_t left_ms =
      request_.expires_at_ms > now_ms ? request_.expires_at_ms - now_ms : 0;
  const std::uint64_t limit_ms =
      keygen() ? environment_.settings.keygen_deadline_ms : environment_.settings.sign_deadline_ms;
  deadline_us_ = began_us_ + static_cast<std::int64_t>(std::min(left_ms, limit_ms)) * 1000;
}

namespace {

constexpr std::uint64_t kRenewalMs = 15'000;

Request renewal_request(const KeyEpoch& key, const Environment& environment) {
  Request request;
  request.operation = Operation::kSign;  // nobody asked: only key and user are looked at
  request.cluster = environment.cluster;
  request.user = environment.user;
  request.key = key.stored.key;
  request.scheme = key.record.scheme;
  request.expires_at_ms = environment.wall_ms() + kRenewalMs;
  return request;
}

}  // namespace

Session::Session(Parts parts, const KeyEpoch& key, const std::string& peer, const SessionId& id)
    : Session(parts, renewal_request(key, parts.environment), id, {}) {
  renews_ = peer;
}

ParticipantIndex Session::index_of(std::string_view node) const {
  for (const Participant& participant : participants_) {
    if (participant.node == node) {
      return participant.index;
    }
  }
  return 0;
}

const std::string* Session::node_of(ParticipantIndex index) const {
  for (const Participant& participant : participants_) {
    if (participant.index == index) {
      return &participant.node;
    }
  }
  return nullptr;
}

std::size_t Session::needed() const {
  return everyone() ? participants_.size() : threshold_;
}

bool Session::set_up() {
  participants_.clear();
  if (keygen()) {
    threshold_ = request_.threshold;
    for (std::size_t i = 0; i < request_.participants.size(); ++i) {
      participants_.push_back({static_cast<ParticipantIndex>(i + 1), request_.participants[i]});
    }
  } else {
    const KeyEpoch* key = parts_.keys.find(request_.key);
    if (key == nullptr) {
      return false;  // still waiting for its commit
    }
    if (key->record.scheme != request_.scheme) {
      fail(ErrorCode::kBadRequest,
           "key " + request_.key + " is a key for " + std::string(scheme_name(key->record.scheme)));
      return false;
    }
    threshold_ = renews_ ? 2 : key->record.threshold;
    epoch_ = key->record.epoch;
    record_digest_ = key->digest;
    signing_key_ = key->record.public_key;
    if (!request_.path.empty()) {
      Result<ByteVector> derived =
          bip32::derive_public_key(signing_key_, key->record.chain_code, request_.path);
      if (!derived) {
        fail(ErrorCode::kBadRequest, derived.error().reason);
        return false;
      }
      signing_key_ = *std::move(derived);
    }
    for (const auto& [index, node] : key->record.participants) {
      if (!renews_ || node == *renews_ || node == environment_.node) {
        participants_.push_back({index, node});
      }
    }
  }
  self_ = index_of(environment_.node);
  if (self_ == 0) {
    fail(ErrorCode::kBadRequest, "node " + environment_.node + " is no participant of this key");
    return false;
  }
  order_ = CoordinatorOrder(id_, participants_);
  return true;
}

void Session::resume_commit() {
  if (set_up()) {
    begin_commit();
  }
}

void Session::begin_commit() {
  phase_ = Phase::kCommitting;
  executed_ = true;
  attempt_.wake_us = environment_.now_us() + kWakeCommitterUs;
}

void Session::begin() {
  if (!set_up()) {
    return;
  }
  // A coordinator that was silent a moment ago is not waited for again; whoever has not noticed yet
  // is told by the next one (see consider_jump).
  std::uint16_t first = 0;
  while (peers_.suspect(order_.of(first)) && order_.of(first) != environment_.node) {
    ++first;
  }
  enter(first);
}

bool Session::may_coordinate(const std::string& node) {
  return (node == environment_.node ||
          (peers_.present(node) && !misbehaved_.contains(node) && !declined_.contains(node))) &&
         in_some_set(node);
}

std::int64_t Session::attempt_duration_us() const {
  if (everyone()) {
    return std::int64_t{environment_.settings.keygen_attempt_timer_ms} * 1000;
  }
  // Each cycle through the coordinators waits twice as long, so that 4n attempts outlast the
  // delivery window (12 s for n = 3) and a late peer still finds the session alive.
  const std::int64_t first = std::max(std::int64_t{environment_.settings.attempt_timer_ms} * 1000,
                                      4 * environment_.average_sign_us);
  const std::size_t cycle =
      static_cast<std::size_t>(std::max(attempt_.number - skipped_, 0)) / participants_.size();
  return std::min(first << cycle, kMaxSignTimerUs);
}

std::uint16_t Session::end_of_attempts() const {
  return std::min(static_cast<std::uint16_t>(order_.own_attempts() + skipped_), order_.limit());
}

void Session::enter(std::uint16_t number) {
  attempt_.own = Hello{};  // what it says of bans may be over
  if (std::optional<Error> error = impossible()) {
    fail(*std::move(error));
    return;
  }
  while (number < end_of_attempts() && !may_coordinate(order_.of(number))) {
    ++number;
  }
  if (number >= end_of_attempts()) {
    fail(final_error());
    return;
  }
  ++environment_.counters.attempts;
  no_presignature_ = no_presignature_ || attempt_.presigned;
  environment_.tally.attempt(operation_name(request_.operation), std::exchange(attempted_, true));
  attempt_ = Attempt{};
  attempt_.number = number;
  attempt_.coordinating = order_.of(number) == environment_.node;
  attempt_.entered_us = environment_.now_us();
  attempt_.timer_us = environment_.now_us() + attempt_duration_us();
  phase_ = Phase::kRendezvous;
  Result<std::unique_ptr<Protocol>> protocol = make_protocol();
  if (!protocol) {
    fail(ErrorCode::kInternal, protocol.error().reason);
    return;
  }
  attempt_.protocol = *std::move(protocol);
  if (!keygen()) {
    std::map<ParticipantIndex, std::string> nodes;
    for (const Participant& participant : participants_) {
      nodes.emplace(participant.index, participant.node);
    }
    attempt_.checks =
        std::make_unique<PairChecks>(parts_.checks, request_.key, epoch_, std::move(nodes));
    attempt_.protocol->observe_checks(attempt_.checks.get());
  }
  make_hello();
  if (attempt_.coordinating) {
    try_start();
    if (phase_ == Phase::kRendezvous && attempt_.number == number) {
      attempt_.wake_us = environment_.now_us() + kWakeAfterUs;
    }
  } else {
    attempt_.wake_us = environment_.now_us() + kWakeAfterUs;
    send_hello();
  }
}

void Session::announce_end(const std::string& reason, const std::string& culprit) {
  const AttemptAbort message{id_, attempt_.number, culprit, reason};
  const bool final_word = everyone() && !culprit.empty();
  for (const Participant& participant : participants_) {
    const bool member = std::ranges::find(attempt_.set, participant) != attempt_.set.end();
    const auto slot = hellos_.find(participant.node);
    const bool waits_for_us = attempt_.coordinating && slot != hellos_.end() &&
                              slot->second.decoded.attempt == attempt_.number;
    if (participant.index != self_ && (member || waits_for_us || final_word)) {
      (void)peers_.send(participant.node, message, final_word);
    }
  }
}

void Session::end_attempt(const std::string& reason, const std::string& culprit) {
  if (!active()) {
    return;
  }
  ++environment_.counters.attempts_failed;
  announce_end(reason, culprit);
  enter(static_cast<std::uint16_t>(attempt_.number + 1));
}

void Session::attempt_timed_out() {
  if (attempt_.presigned && attempt_.assembler != self_) {
    peers_.set_suspect(*node_of(attempt_.assembler));
  } else if (!attempt_.coordinating && !attempt_.presigned) {
    peers_.set_suspect(order_.of(attempt_.number));
  } else {
    for (const Participant& member : attempt_.set) {
      if (member.index != self_ && !attempt_.contributed.contains(member.node)) {
        peers_.set_suspect(member.node);
      }
    }
  }
  end_attempt("timed out");
}

void Session::on_timer() {
  if (finished()) {
    return;
  }
  const std::int64_t now = environment_.now_us();
  if (now >= deadline_us_) {
    fail(final_error());
    return;
  }
  if (phase_ == Phase::kCommitting && now >= attempt_.wake_us) {
    wake_unacknowledged();
  }
  if (!active()) {
    return;
  }
  if (now >= attempt_.timer_us) {
    attempt_timed_out();
    return;
  }
  if (now >= attempt_.wake_us) {
    attempt_.wake_us = INT64_MAX;
    const std::uint16_t number = attempt_.number;
    if (attempt_.coordinating) {
      try_start();  // now also with those it would rather do without
    }
    if (phase_ == Phase::kRendezvous && attempt_.number == number) {
      wake_missing();
    }
  }
  if (phase_ == Phase::kRendezvous && now >= attempt_.patience_us) {
    attempt_.patience_us = INT64_MAX;
    try_start();
  }
  if (active() && now >= attempt_.resend_us) {
    send_hello();
  }
}

std::int64_t Session::next_deadline() const {
  if (phase_ == Phase::kCommitting) {
    return std::min(deadline_us_, attempt_.wake_us);
  }
  if (!active()) {
    return deadline_us_;
  }
  return std::min({deadline_us_, attempt_.timer_us, attempt_.wake_us, attempt_.resend_us,
                   attempt_.patience_us});
}

void Session::commit_refused(const std::string& by) {
  if (phase_ != Phase::kCommitting) {
    return;
  }
  ++environment_.counters.attempts_failed;
  environment_.log(LogLevel::kInfo, "node " + by + " refused the new share; trying again", &id_);
  enter(static_cast<std::uint16_t>(attempt_.number + 1));
}

void Session::finish(SessionOutcome outcome) {
  phase_ = Phase::kFinished;
  if (std::holds_alternative<SignResult>(outcome)) {
    const std::int64_t took = environment_.now_us() - attempt_.entered_us;
    environment_.average_sign_us += (took - environment_.average_sign_us) / 8;
  }
  outcome_ = std::move(outcome);
  attempt_.protocol.reset();
}

void Session::fail(Error error) {
  if (!finished()) {
    finish(std::move(error));
  }
}

void Session::fail(ErrorCode code, std::string message) {
  fail(Error{.code = code,
             .message = std::move(message),
             .may_have_executed = executed_,
             .retryable = code == ErrorCode::kHandlerFailed || code == ErrorCode::kShuttingDown});
}

}  // namespace cosigner::worker
