// The rounds of a started attempt, its failed checks and its result. See session.h.

#include <algorithm>

#include "worker/session/session.h"

namespace cosigner::worker {

void Session::on_round(const std::string& from, Round round) {
  heard_.insert(from);
  if (!active() || round.attempt < attempt_.number) {
    ++environment_.counters.messages_late;
    return;
  }
  if (round.attempt > attempt_.number) {
    ++environment_.counters.messages_early;
    return;
  }
  if (!attempt_.started()) {
    // Its sender has had the start and no answer of ours: one message of the first round.
    const bool fits =
        round.round == EarlyBytes::kRound &&
        round.payload.size() <= attempt_.protocol->payload_limit() &&
        std::ranges::find(attempt_.early, from, &EarlyRound::from) == attempt_.early.end();
    std::optional<EarlyBytes::Held> held =
        fits ? environment_.early_bytes.hold(from, round.payload.size()) : std::nullopt;
    if (!held) {
      ++environment_.counters.messages_refused;
      return;
    }
    attempt_.early.push_back({from, std::move(round), *std::move(held)});
    return;
  }
  feed(from, round);
}

void Session::feed(const std::string& from, const Round& round) {
  const auto member = std::ranges::find(attempt_.set, from, &Participant::node);
  if (member == attempt_.set.end()) {
    ++environment_.counters.messages_refused;
    return;
  }
  if (round.start != attempt_.start_mark()) {
    // Its coordinator has told it something else than us, or it lies: nobody can say.
    count_failed_set();
    environment_.log(LogLevel::kWarning,
                     "attempt " + std::to_string(attempt_.number) +
                         " failed: its members were told different starts",
                     &id_);
    end_attempt("the members were told different starts");
    return;
  }
  attempt_.contributed.insert(from);
  if (everyone()) {
    attempt_.timer_us = environment_.now_us() + attempt_duration_us();
  }
  step(attempt_.protocol->receive(member->index, round.round, round.payload));
}

void Session::step(Result<Messages> result) {
  if (!result) {
    protocol_failed(result.error());
    return;
  }
  dispatch(*result);
  if (const std::optional<Abort> failure = attempt_.protocol->take_failure()) {
    protocol_failed(*failure);
    return;
  }
  std::optional<Outcome> outcome = attempt_.protocol->take_outcome();
  if (!outcome) {
    return;
  }
  if (auto* key = std::get_if<KeyOutcome>(&*outcome); key != nullptr && renews_) {
    finish(RenewedPair{std::move(key->secret)});
    return;
  }
  if (auto* key = std::get_if<KeyOutcome>(&*outcome)) {
    begin_commit();
    key_ = std::move(*key);
    return;
  }
  signature_made(std::move(std::get<SignatureOutcome>(*outcome).signature));
}

void Session::dispatch(const Messages& messages) {
  for (const ProtocolMessage& message : messages) {
    const ByteVector encoded = encode_message(
        Round{id_, attempt_.number, attempt_.start_mark(), message.round, message.payload});
    for (const Participant& member : attempt_.set) {
      if (member.index != self_ && (message.to == 0 || message.to == member.index)) {
        executed_ = executed_ || !everyone();
        (void)peers_.queue(member.node, encoded, true);
      }
    }
  }
}

// A wrong share of an ECDSA signature, or an echo that differs, names nobody. Who answers first
// could spoil every attempt that way, so next time others are taken where there are others.
void Session::count_failed_set() {
  for (const Participant& member : attempt_.set) {
    if (member.index != self_) {
      ++failed_with_[member.node];
    }
  }
}

void Session::protocol_failed(const Abort& abort) {
  // Which of the checks failed stays here: whoever learnt it would have learnt about our secrets.
  const bool burnt = abort.abort_class == AbortClass::kBurn;
  const std::string reason = burnt ? "a check failed" : abort.reason;
  std::string culprit;
  for (const ParticipantIndex index : abort.culprits) {
    const std::string* node = node_of(index);
    if (node == nullptr || *node == environment_.node) {
      continue;
    }
    if (burnt) {
      environment_.log(LogLevel::kError, "node " + *node + ": " + abort.reason, &id_);
      if (!keygen()) {  // no key yet, and the state under way goes with this attempt
        parts_.pairs.burn(request_.key, *node);
      }
    }
    exclude(*node, reason);
    culprit = culprit.empty() ? *node : culprit;
  }
  if (abort.abort_class == AbortClass::kUnattributable) {
    ++environment_.counters.unattributable;
  }
  if (culprit.empty()) {
    count_failed_set();
    environment_.log(
        abort.abort_class == AbortClass::kUnattributable ? LogLevel::kError : LogLevel::kWarning,
        "attempt " + std::to_string(attempt_.number) + " failed: " + abort.reason, &id_);
  }
  end_attempt(reason, culprit);
}

void Session::signature_made(ByteVector signature) {
  const SignatureResult message{id_, epoch_, signature};
  const ByteVector encoded = encode_message(message);
  for (const Participant& participant : participants_) {
    if (participant.index != self_) {
      (void)peers_.queue(participant.node, encoded, false);
    }
  }
  finish(SignResult{request_.scheme, epoch_, signing_key_, std::move(signature)});
}

void Session::on_result(const std::string& from, const SignatureResult& result) {
  heard_.insert(from);
  if (!active() || everyone() || result.epoch != epoch_) {
    ++environment_.counters.messages_refused;
    return;
  }
  if (!verify_signature_vartime(request_.scheme, signing_key_, request_.message,
                                result.signature)) {
    exclude(from, "it sent a result that does not verify");
    const bool member = in_set(from);
    if (member || order_.of(attempt_.number) == from || impossible()) {
      end_attempt("a false result", from);
    }
    return;
  }
  finish(SignResult{request_.scheme, epoch_, signing_key_, result.signature});
}

}  // namespace cosigner::worker
