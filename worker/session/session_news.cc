// What is heard of the peers besides the rounds: aborts, declines, new workers, absences, bans. See
// session.h.

#include <algorithm>

#include "worker/session/session.h"

namespace cosigner::worker {

bool Session::in_set(std::string_view node) const {
  return std::ranges::find(attempt_.set, node, &Participant::node) != attempt_.set.end();
}

void Session::exclude(const std::string& node, const std::string& reason) {
  if (node == environment_.node || !misbehaved_.emplace(node, reason).second) {
    return;
  }
  ++environment_.counters.misbehaviours;
  environment_.tally.misbehaviour(node);
  peers_.set_distrusted(node);
  hellos_.erase(node);
  environment_.log(LogLevel::kWarning, "node " + node + " misbehaved: " + reason, &id_);
}

void Session::on_abort(const std::string& from, const AttemptAbort& abort) {
  if (!active() || abort.attempt != attempt_.number) {
    ++environment_.counters.messages_late;
    return;
  }
  const bool coordinator = from == order_.of(attempt_.number);
  const bool member = in_set(from);
  if (!coordinator && !member) {
    const auto slot = hellos_.find(from);
    if (slot != hellos_.end() && slot->second.decoded.attempt == attempt_.number) {
      hellos_.erase(slot);  // its offer for this attempt is withdrawn
    } else {
      ++environment_.counters.messages_refused;
    }
    return;
  }
  ++environment_.counters.attempts_failed;
  if (!abort.culprit.empty() && index_of(abort.culprit) != 0 && abort.culprit != from) {
    // Hearsay: enough to end an attempt, which `from` could do by silence as well, and to be named
    // in the end; not enough to exclude anyone.
    const bool self = abort.culprit == environment_.node;
    if (!self) {
      reported_.try_emplace(abort.culprit, "as node " + from + " reports: " + abort.reason);
    }
    if (everyone()) {
      fail(Error{.code = self ? ErrorCode::kProtocolFailed : ErrorCode::kPeerMisbehaved,
                 .message = self ? "node " + from + " refuses this node's messages"
                                 : "a message of node " + abort.culprit + " failed a check",
                 .may_have_executed = executed_,
                 .peer = self ? from : abort.culprit,
                 .peer_reason = "as node " + from + " reports: " + abort.reason});
      return;
    }
  }
  enter(static_cast<std::uint16_t>(attempt_.number + 1));
}

void Session::on_advance(const std::string& from, const Advance& advance) {
  heard_.insert(from);
  if (!active() || advance.attempt <= attempt_.number || advance.attempt >= order_.limit()) {
    ++environment_.counters.messages_late;
    return;
  }
  const auto distance = std::min(static_cast<std::uint16_t>(advance.attempt - attempt_.number),
                                 static_cast<std::uint16_t>(order_.most_advanced() - advanced_));
  if (misbehaved_.contains(from) || distance == 0) {
    ++environment_.counters.messages_refused;
    return;
  }
  advanced_ = static_cast<std::uint16_t>(advanced_ + distance);
  skip_to(static_cast<std::uint16_t>(attempt_.number + distance));
}

void Session::on_decline(const std::string& from, const Decline& decline) {
  heard_.insert(from);
  if (!active()) {
    return;
  }
  // Not final before this attempt's end: the same request may be on its way to that node again.
  Error error;
  error.code = error_from_name(decline.error);
  error.message = decline.reason;
  error.peer = decline.peer == environment_.node ? std::string() : decline.peer;
  error.peer_reason = "as node " + from + " reports: " + decline.reason;
  if (error.code == ErrorCode::kPeerMisbehaved && index_of(error.peer) == 0) {
    error.code = ErrorCode::kProtocolFailed;  // nobody of this session is named
    error.peer.clear();
  }
  declined_.insert_or_assign(from, std::move(error));
  attempt_.timer_us =
      std::min(attempt_.timer_us,
               environment_.now_us() + std::int64_t{environment_.settings.attempt_timer_ms} * 1000);
}

void Session::on_absent(const std::string& node) {
  if (active() && node == order_.of(attempt_.number)) {
    end_attempt("its coordinator is absent");
  }
}

void Session::on_new_generation(const std::string& node) {
  heard_.insert(node);
  hellos_.erase(node);  // made by a worker that is gone
  if (!active()) {
    return;
  }
  const bool member = in_set(node);
  if (member) {
    end_attempt("the worker of node " + node + " was replaced");
  } else {
    on_greeting(node);
  }
}

void Session::on_greeting(const std::string& node) {
  if (!active()) {
    return;
  }
  if (attempt_.number > 0) {
    (void)peers_.send(node, Advance{id_, attempt_.number}, false);
  }
  if (!attempt_.coordinating && order_.of(attempt_.number) == node) {
    send_hello();
  }
}

void Session::on_burnt(const std::string& node) {
  if (keygen() || finished() || phase_ == Phase::kWaiting) {
    return;
  }
  if (renews_) {
    if (*renews_ == node) {
      announce_end("given up", {});
      fail(ErrorCode::kBanned, "the pair was banned during its renewal");
    }
    return;
  }
  const bool member = in_set(node);
  // A protocol that has not started holds the state of every pair, one that has that of its set.
  if (member || !attempt_.started()) {
    end_attempt("given up");
  }
}

void Session::on_undelivered(const std::string& node) {
  undelivered_.insert(node);
  const bool member = in_set(node);
  if (active() && member) {
    end_attempt("node " + node + " is unreachable");
  }
}

}  // namespace cosigner::worker
