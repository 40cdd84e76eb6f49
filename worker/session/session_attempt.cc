// The inside of one attempt: hellos, the start, the rounds, the result. See session.h.

#include <algorithm>

#include "crypto/base/hash.h"
#include "worker/session/session.h"

namespace cosigner::worker {

namespace {

constexpr std::int64_t kFirstResendUs = 100'000;
constexpr std::int64_t kResendCapUs = 1'000'000;
/// After a 503 the hello is repeated soon: a worker that is being forked subscribes within
/// milliseconds.
constexpr std::int64_t kFirstQuickUs = 3'000;
constexpr std::int64_t kQuickCapUs = 100'000;
constexpr std::int64_t kWakeAgainUs = 1'000'000;
constexpr std::size_t kMaxEarlyRounds = 8;  ///< of one member, before the start has come

}  // namespace

void Session::make_hello() {
  Hello hello;
  hello.session = id_;
  hello.attempt = attempt_.number;
  hello.run = run_;
  hello.node = environment_.node;
  hello.generation = environment_.generation;
  hello.key = request_.key;
  hello.epoch = epoch_;
  hello.record = record_digest_;
  environment_.random.fill(hello.nonce.span());
  attempt_.nonce = hello.nonce;
  const KeyEpoch* key = everyone() ? nullptr : parts_.keys.find(request_.key);
  if (key != nullptr && !no_presignature_) {
    hello.presignatures = parts_.presigner.held_for(*key, order_.of(attempt_.number));
  }
  hello.payload = attempt_.protocol->hello();
  if (!everyone()) {
    hello.banned = parts_.pairs.banned_from(request_.key);
    hello.pairs = parts_.pairs.offers(request_.key);
  }
  attempt_.hello.certificate = peers_.own_certificate();
  attempt_.hello.body = encode_fields(hello);
  attempt_.own = std::move(hello);
  attempt_.hello.signature =
      ed25519_sign(parts_.signing_key,
                   hello_digest(environment_.cluster, environment_.user, attempt_.hello.body));
  ++environment_.counters.hello_signatures;
}

void Session::send_hello() {
  const std::int64_t interval = attempt_.resend_interval_us == 0
                                    ? kFirstResendUs
                                    : std::min(attempt_.resend_interval_us * 2, kResendCapUs);
  attempt_.resend_interval_us = interval;
  attempt_.resend_us = environment_.now_us() + interval;
  const std::uint64_t packet =
      peers_.publish(order_.of(attempt_.number), encode_hello_packet(attempt_.hello));
  environment_.sent_hellos[packet % environment_.sent_hellos.size()] = {packet, id_};
}

void Session::on_no_responders(const std::string& node) {
  if (!active() || attempt_.coordinating || node != order_.of(attempt_.number)) {
    return;
  }
  attempt_.no_responders = true;
  attempt_.quick_us =
      attempt_.quick_us == 0 ? kFirstQuickUs : std::min(attempt_.quick_us * 2, kQuickCapUs);
  attempt_.resend_interval_us = 0;
  attempt_.resend_us = std::min(attempt_.resend_us, environment_.now_us() + attempt_.quick_us);
}

void Session::wake_missing() {
  // Only a signed request wakes anyone, so the original envelope goes to the peer's gateway.
  bool missing = false;
  for (const Participant& participant : participants_) {
    const std::string& node = participant.node;
    if (participant.index == self_ || !peers_.present(node)) {
      continue;
    }
    const auto slot = hellos_.find(node);
    const bool asked_in_vain =
        attempt_.coordinating
            ? slot == hellos_.end() || slot->second.decoded.attempt != attempt_.number
            : attempt_.no_responders && node == order_.of(attempt_.number);
    if (!asked_in_vain) {
      continue;
    }
    missing = true;
    if (wake(node) && attempt_.coordinating) {
      peers_.greet(node, true);  // who is in another attempt says so
    }
  }
  if (missing) {
    attempt_.wake_us = environment_.now_us() + kWakeAgainUs;
  }
}

void Session::wake_unacknowledged() {
  // A promise binds a node, but its worker may have died since, and without a request nobody starts
  // another: the new one finds the share pending and acknowledges it again.
  for (const std::string& node : parts_.commits.unacknowledged(request_.key)) {
    if (node != environment_.node && peers_.present(node)) {
      (void)wake(node);
    }
  }
  attempt_.wake_us = environment_.now_us() + kWakeAgainUs;
}

bool Session::wake(const std::string& node) {
  const auto [woken, first] = woken_us_.try_emplace(node, environment_.now_us());
  if (!first && environment_.now_us() < woken->second + kWakeAgainUs) {
    return false;
  }
  woken->second = environment_.now_us();
  if (!renews_) {  // only a client's request wakes
    ++environment_.counters.wakes;
    environment_.effects.emplace_back(ipc::Wake{.node = node, .envelope = envelope_});
  }
  return true;
}

bool Session::hello_fits(const std::string& node, const Hello& hello) const {
  return hello.node == node && hello.session == id_ && hello.key == request_.key &&
         hello.epoch == epoch_ && hello.record == record_digest_ &&
         hello.version_low <= kProtocolHigh && hello.version_high >= kProtocolLow;
}

bool Session::verify_hello(const std::string& node, const SignedHello& hello,
                           const Hello& decoded) {
  const Certificate* certificate = peers_.certificate(node);
  if (certificate == nullptr || certificate->generation != decoded.generation) {
    return false;
  }
  ++environment_.counters.hello_verifications;
  return ed25519_verify(certificate->ed25519,
                        hello_digest(environment_.cluster, environment_.user, hello.body),
                        hello.signature);
}

bool Session::verify_slot(const std::string& node, HelloSlot& slot) {
  slot.verified = slot.verified || verify_hello(node, slot.hello, slot.decoded);
  return slot.verified;
}

void Session::on_hello(const std::string& from, SignedHello hello, Hello decoded) {
  if (finished() || phase_ == Phase::kWaiting) {
    return;
  }
  if (index_of(from) == 0 || from == environment_.node || !hello_fits(from, decoded) ||
      misbehaved_.contains(from)) {
    ++environment_.counters.hellos_refused;
    return;
  }
  heard_.insert(from);
  declined_.erase(from);
  const auto rank = [](const Hello& of) { return std::tuple(of.generation, of.run, of.attempt); };
  if (const auto found = hellos_.find(from); found != hellos_.end()) {
    HelloSlot& before = found->second;
    if (before.hello == hello) {
      if (active() && decoded.attempt < attempt_.number) {
        (void)peers_.send(from, Advance{id_, attempt_.number}, false);
      }
      return;
    }
    if (rank(before.decoded) == rank(decoded) && before.hello.body != hello.body) {
      // Two hellos of one worker for one attempt: evidence, if it signed both.
      if (!verify_slot(from, before)) {
        hellos_.erase(found);
      } else if (verify_hello(from, hello, decoded)) {
        ++environment_.counters.equivocations;
        exclude(from, "it signed two different hellos for one attempt");
        const bool member =
            std::ranges::any_of(attempt_.set, [&](const Participant& p) { return p.node == from; });
        if (active() && (member || impossible())) {
          end_attempt("equivocation", from);
        }
        return;
      } else {
        ++environment_.counters.hellos_refused;
        return;
      }
    } else if (rank(decoded) < rank(before.decoded)) {
      ++environment_.counters.messages_late;
      return;
    }
  }
  const std::uint16_t number = decoded.attempt;
  HelloSlot slot{std::move(hello), std::move(decoded), false, ++arrivals_};
  if (phase_ == Phase::kCommitting) {
    return;  // the caller asks the sender for its acknowledgement or refusal
  }
  if (number < attempt_.number) {
    ++environment_.counters.messages_late;
    hellos_.insert_or_assign(from, std::move(slot));
    (void)peers_.send(from, Advance{id_, attempt_.number}, false);
    return;
  }
  if (number >= order_.limit() || order_.of(number) != environment_.node) {
    ++environment_.counters.hellos_refused;
    return;
  }
  hellos_.insert_or_assign(from, std::move(slot));
  if (number > attempt_.number) {
    consider_jump(number);
  } else if (!attempt_.started()) {
    try_start();
  }
  if (active() && !attempt_.started() && attempt_.coordinating) {
    give_up_if_apart();
  }
}

std::size_t Session::failures_with(const std::string& node) const {
  const auto found = failed_with_.find(node);
  return found == failed_with_.end() ? 0 : found->second;
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

bool Session::doubtful(const std::string& node) const {
  return participants_.size() > needed() &&
         (failed_with_.contains(node) || reported_.contains(node) || peers_.distrusted(node) ||
          peers_.suspect(node));
}

void Session::consider_jump(std::uint16_t number) {
  if (number > order_.furthest_from(attempt_.number)) {
    ++environment_.counters.messages_early;
    return;
  }
  std::size_t waiting = 1;
  for (auto& [node, slot] : hellos_) {
    if (slot.decoded.attempt == number && !doubtful(node) && verify_slot(node, slot)) {
      ++waiting;
    }
  }
  if (waiting >= needed()) {
    enter(number);
  }
}

Result<void> Session::use_presignature(dkls23::Presignature presignature) {
  // The member after the coordinator assembles: the coordinator's share travels with the start, so
  // of two signers the other has both shares one hop earlier than the coordinator could.
  const auto coordinator =
      std::ranges::find(attempt_.set, order_.of(attempt_.number), &Participant::node);
  const auto next = std::next(coordinator);
  attempt_.assembler = next == attempt_.set.end() ? attempt_.set.front().index : next->index;
  attempt_.presigned = true;
  attempt_.presignature_id = presignature.id();
  ++environment_.counters.presignatures_named;
  Result<SignParameters> parameters = sign_parameters(attempt_.assembler);
  if (!parameters) {
    return std::unexpected(parameters.error());
  }
  Result<std::unique_ptr<Protocol>> protocol =
      parts_.protocols.presigned(*std::move(parameters), std::move(presignature), attempt_.nonce);
  if (!protocol) {
    return std::unexpected(protocol.error());
  }
  attempt_.protocol = *std::move(protocol);
  return {};
}

void Session::coordinate(const std::vector<std::string>& chosen,
                         std::optional<dkls23::Presignature> presignature) {
  std::vector<SignedHello> hellos;
  std::vector<Hello> decoded;
  std::vector<Participant> set;
  for (const Participant& participant : participants_) {
    if (participant.index == self_) {
      hellos.push_back(attempt_.hello);
      decoded.push_back(attempt_.own);
    } else if (std::ranges::find(chosen, participant.node) != chosen.end()) {
      const HelloSlot& slot = hellos_.find(participant.node)->second;
      hellos.push_back(slot.hello);
      decoded.push_back(slot.decoded);
    } else {
      continue;
    }
    set.push_back(participant);
  }
  attempt_.set = std::move(set);
  attempt_.assembler = self_;
  Start message{id_, attempt_.number, hellos, {}};
  if (presignature) {
    message.presignature = presignature->id();
    if (const auto used = use_presignature(*std::move(presignature)); !used) {
      end_attempt(used.error().reason);
      return;
    }
  }
  const ByteVector start = encode_message(message);
  for (const Participant& member : attempt_.set) {
    if (member.index != self_ && !peers_.queue(member.node, start, true)) {
      end_attempt("node " + member.node + " cannot be sent to");
      return;
    }
  }
  run_protocol(hellos, decoded);
}

void Session::on_start(const std::string& from, Start start) {
  heard_.insert(from);
  if (!active() || start.attempt < attempt_.number) {
    ++environment_.counters.messages_late;
    return;
  }
  if (start.attempt > attempt_.number) {
    ++environment_.counters.messages_early;  // no hello of ours can be in it
    return;
  }
  if (from != order_.of(attempt_.number) || attempt_.coordinating) {
    ++environment_.counters.messages_refused;
    return;
  }
  const Digest digest = TaggedHash(tag::kHelloSet).part(encode_fields(start)).finish();
  const auto blame_coordinator = [&](const std::string& reason) {
    exclude(from, reason);
    end_attempt(reason, from);
  };
  if (attempt_.started()) {
    if (digest != attempt_.start_digest) {
      ++environment_.counters.equivocations;
      blame_coordinator("it sent two different starts for one attempt");
    }
    return;
  }
  if (start.hellos.size() != needed()) {
    blame_coordinator("its start has a set of the wrong size");
    return;
  }
  std::vector<Participant> set;
  std::vector<Hello> decoded;
  bool own_found = false;
  bool coordinator_found = false;
  for (const SignedHello& hello : start.hellos) {
    std::optional<Hello> one = decode_fields<Hello>(hello.body);
    if (!one || one->attempt != attempt_.number || !hello_fits(one->node, *one)) {
      blame_coordinator("its start has a hello that does not belong there");
      return;
    }
    const ParticipantIndex index = index_of(one->node);
    if (index == 0 || (!set.empty() && index <= set.back().index)) {
      blame_coordinator("its start names a set that is none");
      return;
    }
    if (index == self_) {
      if (!(hello == attempt_.hello)) {
        blame_coordinator("its start has an altered hello of this node");
        return;
      }
      own_found = true;
    } else {
      if (misbehaved_.contains(one->node)) {
        end_attempt("the set has node " + one->node + " in it", one->node);
        return;
      }
      const Certificate* certificate = peers_.certificate(one->node);
      if (certificate == nullptr || certificate->generation > one->generation) {
        // A worker that was replaced while its hello was under way is nobody's fault.
        ++environment_.counters.stale_generation;
        end_attempt("the set has an earlier worker of node " + one->node + " in it");
        return;
      }
      if (!verify_hello(one->node, hello, *one)) {
        blame_coordinator("its start has a hello with a wrong signature");
        return;
      }
      coordinator_found = coordinator_found || one->node == from;
    }
    set.push_back({index, one->node});
    decoded.push_back(*std::move(one));
  }
  if (!own_found || !coordinator_found) {
    blame_coordinator("its start names a set without itself or its receiver");
    return;
  }
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    for (std::size_t j = i + 1; j < decoded.size(); ++j) {
      if (!fits(decoded[i], decoded[j])) {
        blame_coordinator("its start names a set with a pair in it that may not sign together");
        return;
      }
    }
  }
  attempt_.set = std::move(set);
  attempt_.start_digest = digest;
  attempt_.assembler = index_of(from);
  if (start.presignature != Digest{}) {
    SigningSet signers;
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      signers.push_back({attempt_.set[i].index, decoded[i].node, decoded[i].generation});
    }
    const KeyEpoch* key = everyone() ? nullptr : parts_.keys.find(request_.key);
    std::optional<dkls23::Presignature> presignature =
        key == nullptr ? std::nullopt
                       : parts_.presigner.take_named(*key, start.presignature, from, signers);
    if (!presignature) {
      // Lost, used, or another's: that costs this one presignature, and the next attempt does
      // without any.
      ++environment_.counters.presignatures_missing;
      no_presignature_ = true;
      end_attempt("the presignature that was named is not held here");
      return;
    }
    if (const auto used = use_presignature(*std::move(presignature)); !used) {
      end_attempt(used.error().reason);
      return;
    }
  }
  run_protocol(start.hellos, decoded);
}

void Session::run_protocol(const std::vector<SignedHello>& hellos,
                           const std::vector<Hello>& decoded) {
  phase_ = Phase::kRunning;
  attempt_.wake_us = INT64_MAX;
  if (everyone()) {
    attempt_.timer_us = environment_.now_us() + attempt_duration_us();
  }
  std::vector<SetMember> members;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    members.push_back({attempt_.set[i].index,
                       attempt_.presigned
                           ? dkls23::presigned_hello(attempt_.presignature_id, decoded[i].nonce)
                           : decoded[i].payload});
  }
  const std::uint16_t number = attempt_.number;
  step(attempt_.protocol->start(members, hello_set_digest(scope(), hellos)));
  // What came before its start.
  std::vector<EarlyRound> early = std::exchange(attempt_.early, {});
  for (const EarlyRound& one : early) {
    if (phase_ == Phase::kRunning && attempt_.number == number) {
      feed(one.from, one.round);
    }
  }
}

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
    const auto waiting = std::ranges::count(attempt_.early, from, &EarlyRound::from);
    if (static_cast<std::size_t>(waiting) >= kMaxEarlyRounds) {
      ++environment_.counters.messages_refused;
      return;
    }
    attempt_.early.push_back({from, std::move(round)});
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
    const ByteVector encoded =
        encode_message(Round{id_, attempt_.number, message.round, message.payload});
    for (const Participant& member : attempt_.set) {
      if (member.index != self_ && (message.to == 0 || message.to == member.index)) {
        executed_ = executed_ || !everyone();
        (void)peers_.queue(member.node, encoded, true);
      }
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
  environment_.counters.unattributable +=
      abort.abort_class == AbortClass::kUnattributable ? 1U : 0U;
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
    const bool member =
        std::ranges::any_of(attempt_.set, [&](const Participant& p) { return p.node == from; });
    if (member || order_.of(attempt_.number) == from || impossible()) {
      end_attempt("a false result", from);
    }
    return;
  }
  finish(SignResult{request_.scheme, epoch_, signing_key_, result.signature});
}

}  // namespace cosigner::worker
