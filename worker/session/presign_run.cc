#include "worker/session/presign_run.h"

#include <algorithm>

#include "crypto/base/hash.h"

namespace cosigner::worker {

PresignRun::PresignRun(Environment& environment, Peers& peers, Setup setup,
                       std::unique_ptr<dkls23::PresignProtocol> protocol,
                       std::unique_ptr<PairChecks> checks)
    : environment_(environment),
      peers_(peers),
      setup_(std::move(setup)),
      checks_(std::move(checks)),
      protocol_(std::move(protocol)) {
  protocol_->observe_checks(checks_.get());
  hellos_[member(environment_.node)->index] = protocol_->hello();
  progress();
}

const Signer* PresignRun::member(std::string_view node) const {
  const auto found = std::ranges::find(setup_.signers, node, &Signer::node);
  return found == setup_.signers.end() ? nullptr : &*found;
}

template <class Message>
void PresignRun::send(const std::string& node, const Message& message) {
  if (!peers_.send(node, message, true)) {
    fail(recoverable("node " + node + " cannot be sent to").error());
  }
}

template <class Message>
void PresignRun::send_all(const Message& message) {
  for (const Signer& signer : setup_.signers) {
    if (signer.node != environment_.node) {
      send(signer.node, message);
    }
  }
}

void PresignRun::propose(std::uint64_t floor) {
  PresignPropose message;
  message.run = setup_.id;
  message.key = setup_.key;
  message.epoch = setup_.epoch;
  message.record = setup_.record;
  message.number = setup_.number;
  message.floor = floor;
  message.order = setup_.order;
  for (const Signer& signer : setup_.signers) {
    message.members.push_back({signer.node, signer.generation});
  }
  message.payload = protocol_->hello();
  send_all(message);
}

void PresignRun::accept(ByteVector owner_payload) {
  hellos_[member(setup_.owner)->index] = std::move(owner_payload);
  send(setup_.owner, PresignAccept{setup_.id, protocol_->hello()});
  if (hellos_.size() == setup_.signers.size()) {
    start();  // of two, both know everything now
  }
}

void PresignRun::on_accept(const std::string& from, PresignAccept message) {
  const Signer* sender = member(from);
  if (!owned() || started_ || sender == nullptr ||
      !hellos_.emplace(sender->index, std::move(message.payload)).second) {
    ++environment_.counters.messages_refused;
    return;
  }
  progress();
  if (hellos_.size() < setup_.signers.size()) {
    return;
  }
  if (setup_.signers.size() > 2) {
    PresignBegin begin{setup_.id, {}};
    for (const auto& [index, payload] : hellos_) {
      begin.hellos.push_back({payload});
    }
    send_all(begin);
  }
  start();
}

void PresignRun::on_begin(const std::string& from, const PresignBegin& message) {
  if (from != setup_.owner || started_ || message.hellos.size() != setup_.signers.size()) {
    ++environment_.counters.messages_refused;
    return;
  }
  for (std::size_t i = 0; i < setup_.signers.size(); ++i) {
    // The protocol refuses a set in which its own hello was altered.
    hellos_[setup_.signers[i].index] = message.hellos[i].payload;
  }
  start();
}

Digest PresignRun::binding_of(std::string_view cluster, std::string_view user, const Setup& setup,
                              const std::map<ParticipantIndex, ByteVector>& hellos) {
  TaggedHash hash(tag::kPresignRun);
  hash.part(cluster).part(user).part(setup.key);
  hash.part_u64(setup.epoch).part(setup.record).part(setup.id).part(setup.order);
  hash.part(setup.owner).part_u64(setup.number);
  for (const Signer& signer : setup.signers) {
    hash.part_u16(signer.index).part(signer.node).part_u64(signer.generation);
    hash.part(hellos.at(signer.index));
  }
  return hash.finish();
}

void PresignRun::start() {
  if (state_ != State::kMaking) {
    return;
  }
  started_ = true;
  progress();
  std::vector<SetMember> set;
  for (const auto& [index, payload] : hellos_) {
    set.push_back({index, payload});
  }
  step(protocol_->start(set, binding_of(environment_.cluster, environment_.user, setup_, hellos_)));
  for (const EarlyRound& early : std::exchange(early_, {})) {
    feed(early.from, early.round);
  }
}

void PresignRun::on_round(const std::string& from, PresignRound message) {
  const Signer* sender = member(from);
  if (sender == nullptr || sender->node == environment_.node) {
    ++environment_.counters.messages_refused;
    return;
  }
  if (started_) {
    feed(sender->index, message);
    return;
  }
  const bool fits = state_ == State::kMaking && message.round == EarlyBytes::kRound &&
                    message.payload.size() <= protocol_->payload_limit() &&
                    std::ranges::find(early_, sender->index, &EarlyRound::from) == early_.end();
  std::optional<EarlyBytes::Held> held =
      fits ? environment_.early_bytes.hold(from, message.payload.size()) : std::nullopt;
  if (!held) {
    ++environment_.counters.messages_refused;
    return;
  }
  early_.push_back({sender->index, std::move(message), *std::move(held)});
}

void PresignRun::feed(ParticipantIndex from, const PresignRound& message) {
  if (state_ == State::kMaking && !presignature_) {
    progress();
    step(protocol_->receive(from, message.round, message.payload));
  }
}

void PresignRun::step(Result<Messages> result) {
  if (!result) {
    fail(result.error());
    return;
  }
  for (const ProtocolMessage& message : *result) {
    const PresignRound round{setup_.id, message.round, message.payload};
    for (const Signer& signer : setup_.signers) {
      if (signer.node != environment_.node && (message.to == 0 || message.to == signer.index)) {
        send(signer.node, round);
      }
    }
  }
  if (state_ != State::kMaking) {
    return;
  }
  if (const std::optional<Abort> failure = protocol_->take_failure()) {
    fail(*failure);
    return;
  }
  if (std::optional<dkls23::Presignature> made = protocol_->take_presignature()) {
    presignature_ = std::move(made);
    protocol_.reset();
    settle();
  }
}

void PresignRun::on_ready(const std::string& from) {
  const Signer* sender = member(from);
  if (!owned() || sender == nullptr) {
    ++environment_.counters.messages_refused;
    return;
  }
  ready_.insert(sender->index);
  settle();
}

void PresignRun::settle() {
  if (state_ != State::kMaking || !presignature_) {
    return;
  }
  if (!owned()) {
    state_ = State::kHeld;
    send(setup_.owner, PresignReady{setup_.id});
  } else if (ready_.size() + 1 == setup_.signers.size()) {
    state_ = State::kReady;
  }
}

void PresignRun::fail(Abort abort) {
  if (state_ != State::kFailed) {
    state_ = State::kFailed;
    failure_ = std::move(abort);
    presignature_.reset();
    protocol_.reset();
  }
}

}  // namespace cosigner::worker
