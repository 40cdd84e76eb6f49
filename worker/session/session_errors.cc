// How a session says that it cannot go on, or could not finish. See session.h.

#include <algorithm>

#include "ipc/joined.h"
#include "worker/session/session.h"

namespace cosigner::worker {

namespace {

constexpr std::uint32_t kRetryAfterMs = 500;

bool of_other_version(const Session::Declines::value_type& decline) {
  return decline.second.code == ErrorCode::kUnsupportedVersion;
}

/// The decline that the client is told of, out of one or several: for another version if that makes
/// the request hopeless (`for_good`), else for anything that may pass, if there is such a one.
const Session::Declines::value_type& most_telling(const Session::Declines& declines,
                                                  bool for_good) {
  const auto found = std::ranges::find(declines, for_good, of_other_version);
  return found == declines.end() ? *declines.begin() : *found;
}

}  // namespace

std::optional<Error> Session::declined_by_too_many(bool everyone_is_here) const {
  if (declined_.empty()) {
    return std::nullopt;
  }
  const auto outdated =
      static_cast<std::size_t>(std::ranges::count_if(declined_, of_other_version));
  // Only an upgrade helps where too few nodes are left; who is absent or declined otherwise may
  // come back. One node's word, true or not, does not make a request hopeless.
  const bool for_good = participants_.size() - outdated < needed();
  if (!for_good && !everyone_is_here && outdated == declined_.size()) {
    return std::nullopt;  // it is the absent ones who are missing
  }
  const auto& [node, error] = most_telling(declined_, for_good);
  return Error{.code = error.code,
               .message = "node " + node + " does not take part: " + error.message,
               .may_have_executed = executed_,
               .retryable = !for_good,
               .retry_after_ms = for_good ? 0 : kRetryAfterMs,
               .peer = error.peer.empty() ? node : error.peer,
               .peer_reason = error.peer_reason};
}

std::optional<Error> Session::impossible() {
  std::size_t honest = 0;
  std::size_t willing = 0;
  std::size_t available = 0;
  std::vector<std::string> absent;
  for (const Participant& participant : participants_) {
    const bool bad = misbehaved_.contains(participant.node);
    honest += bad ? 0U : 1U;
    willing += bad || declined_.contains(participant.node) ? 0U : 1U;
    if (!peers_.present(participant.node)) {
      absent.push_back(participant.node);
    } else {
      available += bad || declined_.contains(participant.node) ? 0U : 1U;
    }
  }
  if (honest < needed()) {
    const auto& [node, reason] = *misbehaved_.begin();
    return Error{.code = ErrorCode::kPeerMisbehaved,
                 .message = "a message of node " + node + " failed a check",
                 .may_have_executed = executed_,
                 .peer = node,
                 .peer_reason = reason};
  }
  const bool quorum = participants_.size() - absent.size() >= needed();
  const bool blocked = willing < needed() || (quorum && available < needed());
  if (blocked) {
    if (std::optional<Error> error = declined_by_too_many(absent.empty())) {
      return error;
    }
  }
  if (!quorum || (blocked && std::ranges::any_of(declined_, of_other_version))) {
    return Error{.code = ErrorCode::kQuorumUnavailable,
                 .message = std::to_string(needed()) + " of " +
                            std::to_string(participants_.size()) +
                            " participants are needed; absent: " + joined(absent),
                 .may_have_executed = executed_,
                 .retryable = true,
                 .retry_after_ms = kRetryAfterMs,
                 .peer = absent.front(),
                 .peer_reason = "its gateway is not present"};
  }
  return no_set();
}

Error Session::final_error() const {
  Error error;
  error.may_have_executed = executed_;
  error.retryable = true;
  error.retry_after_ms = kRetryAfterMs;
  if (!misbehaved_.empty() || !reported_.empty()) {
    const auto& [node, reason] = misbehaved_.empty() ? *reported_.begin() : *misbehaved_.begin();
    error.code = ErrorCode::kPeerMisbehaved;
    error.message = "a message of node " + node + " failed a check";
    error.peer = node;
    error.peer_reason = reason;
    return error;
  }
  std::vector<std::string> silent;
  std::vector<std::string> unreachable;
  for (const Participant& participant : participants_) {
    if (participant.index == self_) {
      continue;
    }
    if (!heard_.contains(participant.node) || undelivered_.contains(participant.node)) {
      unreachable.push_back(participant.node);
    } else if (peers_.suspect(participant.node)) {
      silent.push_back(participant.node);
    }
  }
  if (phase_ == Phase::kWaiting || phase_ == Phase::kCommitting) {
    error.code = ErrorCode::kPeerTimeout;
    error.message = "the other participants did not confirm key " + request_.key + " in time";
  } else if (!unreachable.empty()) {
    error.code = ErrorCode::kPeerUnreachable;
    error.message = "nothing came from " + joined(unreachable);
    error.peer = unreachable.front();
    error.peer_reason = "no message of this session was answered";
  } else {
    error.code = ErrorCode::kPeerTimeout;
    error.message = silent.empty() ? "the participants did not finish in time"
                                   : "no timely answer from " + joined(silent);
    error.peer = silent.empty() ? std::string() : silent.front();
    error.peer_reason = silent.empty() ? std::string() : "it let an attempt time out";
  }
  return error;
}

}  // namespace cosigner::worker
