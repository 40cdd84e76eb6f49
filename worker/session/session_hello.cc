// Rendezvous: the own hello, the wakes, the hellos of the others, jumps to a later attempt. See
// session.h.

#include <algorithm>

#include "worker/session/session.h"

namespace cosigner::worker {

namespace {

constexpr std::int64_t kFirstResendUs = 100'000;
constexpr std::int64_t kResendCapUs = 1'000'000;
/// After a 503 the hello is repeated soon: a worker that is being forked subscribes within
/// milliseconds.
constexpr std::int64_t kFirstQuickUs = 3'000;
constexpr std::int64_t kQuickCapUs = 100'000;

}  // namespace

void Session::make_hello() {
  Hello hello;
  hello.version_low = parts_.protocols.versions().low;
  hello.version_high = parts_.protocols.versions().high;
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
         hello.epoch == epoch_ && hello.record == record_digest_;
}

bool Session::speaks_our_version(const Hello& hello) const {
  return parts_.protocols.versions().meets(hello.versions());
}

void Session::on_other_version(const std::string& from, const SignedHello& hello,
                               const Hello& decoded) {
  const auto known = declined_.find(from);
  const bool first =
      known == declined_.end() || known->second.code != ErrorCode::kUnsupportedVersion;
  // It comes in clear: without its sender's signature the broker may have made it.
  if (!verify_hello(from, hello, decoded)) {
    ++environment_.counters.hellos_refused;
    return;
  }
  ++environment_.counters.hellos_other_version;
  heard_.insert(from);
  const std::string reason = "node " + from + " speaks versions " + decoded.versions().text() +
                             " of the session protocol, node " + environment_.node + " " +
                             parts_.protocols.versions().text();
  if (environment_.other_version.insert(from).second) {
    environment_.log(LogLevel::kWarning, reason + ": no session with it before one is upgraded");
  }
  // Or it would wait for a coordinator that never starts.
  const Decline decline{id_, std::string(error_name(ErrorCode::kUnsupportedVersion)), {}, reason};
  (void)peers_.send(from, decline, false);
  if (!first) {
    return;
  }
  hellos_.erase(from);
  Error error;
  error.code = ErrorCode::kUnsupportedVersion;
  error.message = reason;
  error.peer_reason = reason;
  declined_.insert_or_assign(from, std::move(error));
  if (active() && impossible()) {
    end_attempt("no common version of the session protocol with enough nodes");
  }
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
  if (!speaks_our_version(decoded)) {
    on_other_version(from, hello, decoded);
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
        const bool member = in_set(from);
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

void Session::consider_jump(std::uint16_t number) {
  const auto distance = static_cast<std::uint16_t>(number - attempt_.number);
  std::vector<std::uint16_t*> told;  // how far the hellos of each have brought this node
  for (auto& [node, slot] : hellos_) {
    std::uint16_t& so_far = jumped_[node];
    if (slot.decoded.attempt == number && !doubtful(node) &&
        so_far + distance <= order_.most_jumped() && verify_slot(node, slot)) {
      told.push_back(&so_far);
    }
  }
  if (told.size() + 1 < needed()) {
    ++environment_.counters.messages_early;
    return;
  }
  for (std::uint16_t* so_far : told) {
    *so_far = static_cast<std::uint16_t>(*so_far + distance);
  }
  skip_to(number);
}

void Session::skip_to(std::uint16_t number) {
  skipped_ = static_cast<std::uint16_t>(skipped_ + (number - attempt_.number));
  enter(number);
}

}  // namespace cosigner::worker
