// The runs of both kinds: how they are made, what comes in for them, what becomes of them. See
// presigner.h.

#include <algorithm>
#include <exception>
#include <new>
#include <typeinfo>

#include "worker/session/presigner.h"
#include "worker/user/throw_trace.h"

namespace cosigner::worker {

namespace {

const PresignBackoff& backoff_after(const PresignEnd& message) {
  switch (static_cast<PresignEnd::Reason>(message.reason)) {
    case PresignEnd::Reason::kFull:
      return kAfterFull;
    case PresignEnd::Reason::kOrderUnknown:
      return kAfterOrderUnknown;
    case PresignEnd::Reason::kStranger:
      return kAfterStranger;
    case PresignEnd::Reason::kFailed:
      break;
  }
  return kAfterFailure;
}

}  // namespace

Result<std::unique_ptr<dkls23::PresignProtocol>> Presigner::make_protocol(
    const KeyEpoch& key, const Stock& stock, const SessionId& run, ParticipantIndex assembler) {
  const Expected<ByteView> share = keys_.share(key.stored.key);
  if (!share) {
    return recoverable(share.error().message);
  }
  const ParticipantIndex self =
      std::ranges::find(stock.participants, environment_.node, &Participant::node)->index;
  const AttemptScope scope{.cluster = environment_.cluster,
                           .user = environment_.user,
                           .key = key.stored.key,
                           .epoch = stock.epoch,
                           .session = run,
                           .attempt = 0};
  return protocols_.presign(
      SignParameters{
          .record = to_public_key_record(key.record),
          .secret = *share,
          .message = {},
          .path = {},
          .context = attempt_context(scope, key.record.scheme, stock.threshold, stock.participants),
          .self = self,
          .assembler = assembler},
      environment_.random);
}

std::unique_ptr<PresignRun> Presigner::make_run(const KeyEpoch& key, const Stock& stock,
                                                PresignRun::Setup setup) {
  const ParticipantIndex owner =
      std::ranges::find(setup.signers, setup.owner, &Signer::node)->index;
  try {
    auto protocol = make_protocol(key, stock, setup.id, owner);
    if (protocol) {
      ++environment_.counters.presign_runs;
      return std::make_unique<PresignRun>(environment_, peers_, std::move(setup),
                                          *std::move(protocol), checks_for(key.stored.key, stock));
    }
    environment_.log(LogLevel::kError, "no presignature can be made: " + protocol.error().reason);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    note_exception(error);
  }
  return nullptr;
}

void Presigner::note_exception(const std::exception& error) {
  ++environment_.counters.exceptions;
  environment_.log(LogLevel::kError, std::string("exception in presigning: ") +
                                         typeid(error).name() + ": " + error.what() + "\n" +
                                         last_throw_trace());
}

std::unique_ptr<PairChecks> Presigner::checks_for(const std::string& key,
                                                  const Stock& stock) const {
  std::map<ParticipantIndex, std::string> nodes;
  for (const Participant& participant : stock.participants) {
    nodes.emplace(participant.index, participant.node);
  }
  return std::make_unique<PairChecks>(checks_, key, stock.epoch, std::move(nodes));
}

template <class Message, class Body>
bool Presigner::route(const std::string& from, ByteView fields, Body body) {
  std::optional<Message> message = decode_fields<Message>(fields);
  if (!message) {
    return false;
  }
  const SessionId id = message->run;
  const auto run = runs_.find(id);
  if (run == runs_.end()) {
    ++environment_.counters.messages_stray;
    return true;
  }
  if (!has_member(run->second->setup().signers, from)) {
    ++environment_.counters.messages_refused;
    return true;
  }
  touch(id, [&](PresignRun& known) { body(known, *std::move(message)); });
  return true;
}

void Presigner::touch(const SessionId& id, const std::function<void(PresignRun&)>& body) {
  PresignRun& run = *runs_.at(id);
  try {
    body(run);
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    // What it may have left half-changed is the run's own, and goes with it.
    note_exception(error);
    run.give_up("an exception ended this run");
  }
  review(id);
}

bool Presigner::on_message(const std::string& from, MessageKind kind, ByteView fields) {
  stirred_ = true;
  switch (kind) {
    case MessageKind::kPresignPropose: {
      const auto message = decode_fields<PresignPropose>(fields);
      if (message) {
        on_propose(from, *message);
      }
      return message.has_value();
    }
    case MessageKind::kPresignAccept:
      return route<PresignAccept>(from, fields, [&](PresignRun& run, PresignAccept message) {
        run.on_accept(from, std::move(message));
      });
    case MessageKind::kPresignBegin:
      return route<PresignBegin>(from, fields, [&](PresignRun& run, const PresignBegin& message) {
        run.on_begin(from, message);
      });
    case MessageKind::kPresignRound:
      return route<PresignRound>(from, fields, [&](PresignRun& run, PresignRound message) {
        run.on_round(from, std::move(message));
      });
    case MessageKind::kPresignReady:
      return route<PresignReady>(from, fields,
                                 [&](PresignRun& run, const PresignReady&) { run.on_ready(from); });
    case MessageKind::kPresignEnd: {
      const auto message = decode_fields<PresignEnd>(fields);
      if (message) {
        on_end(from, *message);
      }
      return message.has_value();
    }
    default:
      return false;
  }
}

void Presigner::on_end(const std::string& from, const PresignEnd& message) {
  const auto found = runs_.find(message.run);
  if (found == runs_.end()) {
    // Whoever has finished it already wipes it; only its members may ask for that.
    for (auto& [key, stock] : stocks_) {
      stock->pool.drop_run(message.run, from);
    }
    return;
  }
  const PresignRun& run = *found->second;
  if (!has_member(run.setup().signers, from)) {
    ++environment_.counters.messages_refused;
    return;
  }
  if (!run.owned() && from != run.setup().owner) {
    return;  // the owner hears it as well, and ends the run for everyone
  }
  failed(run, backoff_after(message));
  if (run.owned() && run.setup().signers.size() > 2) {
    for (const Signer& signer : run.setup().signers) {
      if (signer.node != environment_.node && signer.node != from) {
        (void)peers_.send(signer.node, message, true);
      }
    }
  }
  forget(found);
}

void Presigner::review(const SessionId& id) {
  const auto found = runs_.find(id);
  if (found == runs_.end() || found->second->state() == PresignRun::State::kMaking) {
    return;
  }
  PresignRun& run = *found->second;
  const PresignRun::Setup& setup = run.setup();
  Stock* known = find(setup.key);
  if (run.state() == PresignRun::State::kFailed) {
    const Abort& abort = *run.failure();
    ++environment_.counters.presign_failed;
    // A member that spoils every presignature in a way that names nobody is seen by this alone.
    const bool unattributable = abort.abort_class == AbortClass::kUnattributable;
    if (unattributable) {
      ++environment_.counters.unattributable;
    }
    environment_.log(unattributable ? LogLevel::kError : LogLevel::kInfo,
                     "a presignature could not be made: " + abort.reason);
    for (const Signer& signer : setup.signers) {
      if (abort.abort_class != AbortClass::kRecoverable &&
          std::ranges::find(abort.culprits, signer.index) != abort.culprits.end()) {
        ++environment_.counters.misbehaviours;
        if (signer.node != environment_.node) {
          environment_.tally.misbehaviour(signer.node);
        }
        peers_.set_distrusted(signer.node);
        environment_.log(LogLevel::kWarning,
                         "node " + signer.node + " misbehaved: " + abort.reason);
        if (abort.abort_class == AbortClass::kBurn && signer.node != environment_.node) {
          pairs_.burn(setup.key, signer.node);  // whoever called cuts the rest: Pairs::take_burnt()
        }
      }
      if (signer.node != environment_.node) {
        (void)peers_.send(signer.node,
                          PresignEnd{id, static_cast<std::uint8_t>(PresignEnd::Reason::kFailed)},
                          true);
      }
    }
    // The owner pays for what it did, not for another member's silence or lies; of two, silence is
    // the owner's.
    const ParticipantIndex owner =
        std::ranges::find(setup.signers, setup.owner, &Signer::node)->index;
    const bool owners_fault = std::ranges::find(abort.culprits, owner) != abort.culprits.end() ||
                              (abort.culprits.empty() && setup.signers.size() == 2);
    if (known != nullptr && !run.owned() && owners_fault) {
      Penalty& penalty = known->penalties[setup.owner];
      penalty.until_us = environment_.now_us() + kAfterFailure.after(penalty.failures++);
    }
    failed(run, kAfterFailure);
    forget(found);
    return;
  }
  if (known != nullptr) {
    known->penalties.erase(setup.owner);
    known->pool.add({.run = id,
                     .signers = setup.signers,
                     .owner = setup.owner,
                     .number = setup.number,
                     .made_us = environment_.now_us(),
                     .presignature = run.take()});
    if (Stream* stream = stream_of(run)) {
      stream->failures = 0;
    }
  }
  ++environment_.counters.presignatures_made;
  if (run.owned() && setup.ordered()) {
    if (const auto order = orders_.find(setup.order); order != orders_.end()) {
      ++order->second.made;
      order->second.stuck_us = environment_.now_us() + kStuckUs;
    }
  }
  forget(found);
}

Presigner::Stream* Presigner::stream_of(const PresignRun& run) {
  Stock* known = run.owned() ? find(run.setup().key) : nullptr;
  if (known == nullptr) {
    return nullptr;
  }
  const auto found = std::ranges::find_if(known->streams, [&](const Stream& stream) {
    return std::ranges::equal(stream.members, run.setup().signers, {}, &Participant::node,
                              &Signer::node);
  });
  return found == known->streams.end() ? nullptr : &*found;
}

void Presigner::failed(const PresignRun& run, const PresignBackoff& backoff) {
  if (Stream* stream = stream_of(run)) {
    stream->not_before_us = environment_.now_us() + backoff.after(stream->failures);
    ++stream->failures;
  }
}

void Presigner::forget(std::map<SessionId, std::unique_ptr<PresignRun>>::iterator found) {
  if (Stream* stream = stream_of(*found->second)) {
    --stream->running;
  }
  runs_.erase(found);
  stirred_ = true;
}

void Presigner::on_undelivered(const std::string& node) {
  std::vector<SessionId> lost;
  for (const auto& [id, run] : runs_) {
    if (has_member(run->setup().signers, node)) {
      lost.push_back(id);
    }
  }
  for (const SessionId& id : lost) {
    runs_.at(id)->give_up("timed out");
    review(id);
  }
}

void Presigner::on_timer() {
  const std::int64_t now = environment_.now_us();
  std::vector<SessionId> late;
  for (const auto& [id, run] : runs_) {
    if (run->timer_us() <= now) {
      late.push_back(id);
    }
  }
  for (const SessionId& id : late) {
    runs_.at(id)->give_up("timed out");
    review(id);
  }
  std::erase_if(grants_, [&](const auto& entry) { return entry.second.until_us <= now; });
}

}  // namespace cosigner::worker
