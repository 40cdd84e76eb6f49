// The start of an attempt: given by its coordinator, checked by its members. See session.h.

#include <algorithm>

#include "crypto/base/hash.h"
#include "worker/session/session.h"

namespace cosigner::worker {

namespace {

Digest digest_of(const Start& start) {
  return TaggedHash(tag::kStart).part(encode_fields(start)).finish();
}

}  // namespace

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
  // Before the share: what is queued for peers leaves after the effects of this turn.
  environment_.effects.emplace_back(ipc::PresignatureUsed{.key = request_.key,
                                                          .presignature = attempt_.presignature_id,
                                                          .session = id_,
                                                          .attempt = attempt_.number});
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
  attempt_.start_digest = digest_of(message);
  const ByteVector start = encode_message(message);
  for (const Participant& member : attempt_.set) {
    if (member.index != self_ && !peers_.queue(member.node, start, true)) {
      end_attempt("node " + member.node + " cannot be sent to");
      return;
    }
  }
  run_protocol(hellos, decoded);
}

std::expected<Session::StartSet, Session::StartRefused> Session::check_start(
    const std::string& from, const Start& start) {
  const auto wrong = [&](std::string reason) {
    return std::unexpected(StartRefused{.reason = std::move(reason), .culprit = from});
  };
  if (start.hellos.size() != needed()) {
    return wrong("its start has a set of the wrong size");
  }
  StartSet out;
  bool own_found = false;
  bool coordinator_found = false;
  for (const SignedHello& hello : start.hellos) {
    std::optional<Hello> one = decode_fields<Hello>(hello.body);
    if (!one || one->attempt != attempt_.number || !hello_fits(one->node, *one) ||
        !speaks_our_version(*one)) {
      return wrong("its start has a hello that does not belong there");
    }
    const ParticipantIndex index = index_of(one->node);
    if (index == 0 || (!out.members.empty() && index <= out.members.back().index)) {
      return wrong("its start names a set that is none");
    }
    if (index == self_) {
      // The certificate beside it is not under its signature: the broker may have put another one
      // there, an older one for example, and the coordinator would pay for it.
      if (hello.body != attempt_.hello.body || hello.signature != attempt_.hello.signature) {
        return wrong("its start has an altered hello of this node");
      }
      own_found = true;
    } else {
      if (misbehaved_.contains(one->node)) {
        return std::unexpected(StartRefused{.reason = "the set has node " + one->node + " in it",
                                            .culprit = one->node,
                                            .seen_here = false});
      }
      const Certificate* certificate = peers_.certificate(one->node);
      if (certificate == nullptr || certificate->generation > one->generation) {
        // A worker that was replaced while its hello was under way is nobody's fault.
        ++environment_.counters.stale_generation;
        return std::unexpected(
            StartRefused{.reason = "the set has an earlier worker of node " + one->node + " in it",
                         .culprit = {},
                         .seen_here = false});
      }
      if (!verify_hello(one->node, hello, *one)) {
        if (peers_.learn(one->node, hello.certificate) == Peers::Learnt::kEquivocal) {
          // The proof is in the start; its coordinator may know that worker's other keys only.
          return std::unexpected(StartRefused{
              .reason = "it has certified two workers with one generation", .culprit = one->node});
        }
        return wrong("its start has a hello with a wrong signature");
      }
      coordinator_found = coordinator_found || one->node == from;
    }
    out.members.push_back({index, one->node});
    out.hellos.push_back(*std::move(one));
  }
  if (!own_found || !coordinator_found) {
    return wrong("its start names a set without itself or its receiver");
  }
  for (std::size_t i = 0; i < out.hellos.size(); ++i) {
    for (std::size_t j = i + 1; j < out.hellos.size(); ++j) {
      if (!fits(out.hellos[i], out.hellos[j])) {
        return wrong("its start names a set with a pair in it that may not sign together");
      }
    }
  }
  return out;
}

void Session::refuse_start(const StartRefused& refused) {
  if (refused.seen_here) {
    exclude(refused.culprit, refused.reason);
  }
  end_attempt(refused.reason, refused.culprit);
}

bool Session::use_named(const Digest& presignature, const std::string& coordinator,
                        const std::vector<Hello>& hellos) {
  SigningSet signers;
  for (std::size_t i = 0; i < hellos.size(); ++i) {
    signers.push_back({attempt_.set[i].index, hellos[i].node, hellos[i].generation});
  }
  const KeyEpoch* key = everyone() ? nullptr : parts_.keys.find(request_.key);
  std::optional<dkls23::Presignature> taken =
      key == nullptr ? std::nullopt
                     : parts_.presigner.take_named(*key, presignature, coordinator, signers);
  if (!taken) {
    // Lost, used, or another's: that costs this one presignature, and the next attempt does
    // without any.
    ++environment_.counters.presignatures_missing;
    no_presignature_ = true;
    end_attempt("the presignature that was named is not held here");
    return false;
  }
  if (const auto used = use_presignature(*std::move(taken)); !used) {
    end_attempt(used.error().reason);
    return false;
  }
  return true;
}

void Session::on_start(const std::string& from, Start start) {
  heard_.insert(from);
  if (!active() || start.attempt < attempt_.number) {
    ++environment_.counters.messages_late;
    parts_.presigner.drop_named(start.presignature, from);
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
  const Digest digest = digest_of(start);
  if (attempt_.started()) {
    if (digest != attempt_.start_digest) {
      on_second_start(from, start);
    }
    return;
  }
  std::expected<StartSet, StartRefused> set = check_start(from, start);
  if (!set) {
    refuse_start(set.error());
    return;
  }
  attempt_.set = std::move(set->members);
  attempt_.start_digest = digest;
  const auto coordinator = std::ranges::find(set->hellos, from, &Hello::node);
  attempt_.coordinator_run = {coordinator->generation, coordinator->run};
  attempt_.assembler = index_of(from);
  if (start.presignature != Digest{} && !use_named(start.presignature, from, set->hellos)) {
    return;
  }
  run_protocol(start.hellos, set->hellos);
}

// A coordinator whose session ended here or there and was asked for again is in the same attempt
// with another hello of its own. Two starts with the same hello of it are evidence.
void Session::on_second_start(const std::string& from, const Start& start) {
  for (const SignedHello& hello : start.hellos) {
    const std::optional<Hello> one = decode_fields<Hello>(hello.body);
    if (one && one->node == from && hello_fits(from, *one) && speaks_our_version(*one) &&
        one->attempt == attempt_.number &&
        std::pair(one->generation, one->run) > attempt_.coordinator_run &&
        verify_hello(from, hello, *one)) {
      end_attempt("its coordinator has begun again");
      return;
    }
  }
  ++environment_.counters.equivocations;
  refuse_start({.reason = "it sent two different starts for one attempt", .culprit = from});
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

}  // namespace cosigner::worker
