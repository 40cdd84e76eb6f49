// From a packet to the session or commit it concerns. See engine_impl.h.

#include "worker/session/engine_impl.h"

namespace cosigner::worker {

namespace {

/// A peer's greetings are looked at this often: each one may concern every session.
constexpr std::int64_t kGreetingIntervalUs = 10'000;

}  // namespace

void SessionEngine::Impl::on_packet(const std::string& from, ByteView payload) {
  const std::optional<PacketKind> kind = packet_kind(payload);
  if (!kind || !peers_.known(from) || from == environment_.node) {
    ++environment_.counters.packets_malformed;
    return;
  }
  switch (*kind) {
    case PacketKind::kHello:
      if (std::optional<SignedHello> hello = decode_hello_packet(payload)) {
        on_hello(from, *std::move(hello));
        return;
      }
      break;
    case PacketKind::kSealed:
      if (const std::optional<SealedPacket> sealed = decode_sealed(payload)) {
        on_sealed(from, *sealed);
        return;
      }
      break;
    case PacketKind::kGreeting:
      if (const std::optional<Greeting> greeting = decode_greeting(payload)) {
        on_greeting(from, *greeting);
        return;
      }
      break;
  }
  ++environment_.counters.packets_malformed;
}

Peers::Learnt SessionEngine::Impl::learn(const std::string& node, ByteView certificate) {
  const Peers::Learnt learnt = peers_.learn(node, certificate);
  if (learnt == Peers::Learnt::kNewer) {
    touch_all([&](Session& session) {
      if (session.is_participant(node)) {
        session.on_new_generation(node);
      }
    });
    commits_.meet(node);
    pairs_.meet(node);
    presign([&](Presigner& presigner) { presigner.forget_node(node); });
  } else if (learnt == Peers::Learnt::kStale) {
    ++environment_.counters.stale_generation;
  }
  return learnt;
}

namespace {

bool usable(Peers::Learnt learnt) {
  return learnt == Peers::Learnt::kSame || learnt == Peers::Learnt::kNewer;
}

}  // namespace

void SessionEngine::Impl::on_hello(const std::string& from, SignedHello hello) {
  std::optional<Hello> decoded = decode_fields<Hello>(hello.body);
  if (!decoded || decoded->node != from) {
    ++environment_.counters.hellos_refused;
    return;
  }
  const Peers::Learnt learnt = learn(from, hello.certificate);
  if (!usable(learnt)) {
    ++environment_.counters.hellos_refused;
    return;
  }
  const SessionId id = decoded->session;
  if (Running* running = find(id)) {
    if (running->session.phase() == Session::Phase::kWaiting) {
      early_.keep(environment_.now_us(), from, std::move(hello), *std::move(decoded),
                  environment_.counters);
      commits_.ask(running->session.request().key, from);
      return;
    }
    if (running->session.phase() == Session::Phase::kCommitting) {
      commits_.ask(running->session.request().key, from);
    }
    touch(id,
          [&](Session& session) { session.on_hello(from, std::move(hello), *std::move(decoded)); });
    return;
  }
  // Whoever holds the result answers with it.
  if (const Results::Stored* stored = results_.find(id)) {
    const Expected<RequestAnswer> answer = decode_answer(stored->answer);
    const SignResult* sign = answer ? std::get_if<SignResult>(&answer->content) : nullptr;
    if (sign != nullptr) {
      (void)peers_.send(from, SignatureResult{id, sign->epoch, sign->signature}, false);
      return;
    }
  }
  if (const KeyEpoch* key = keys_.find(decoded->key); key != nullptr && key->record.session == id) {
    (void)peers_.send(from, Commits::certificate_of(*key), false);
    return;
  }
  if (const SessionId* committing = commits_.session_of(decoded->key);
      committing != nullptr && *committing == id) {
    commits_.ask(decoded->key, from);
    return;
  }
  if (const Error* failure = results_.failure(id)) {
    const Decline decline{id, std::string(error_name(failure->code)), failure->peer,
                          failure->message};
    (void)peers_.send(from, decline, false);
    return;
  }
  // A hello without its request starts nothing.
  early_.keep(environment_.now_us(), from, std::move(hello), *std::move(decoded),
              environment_.counters);
}

void SessionEngine::Impl::on_greeting(const std::string& from, const Greeting& greeting) {
  const Peers::Learnt learnt = learn(from, greeting.certificate);
  if (!usable(learnt)) {
    return;
  }
  std::int64_t& last = greeted_us_.try_emplace(from, INT64_MIN / 2).first->second;
  if (!greeting.answer_wanted || environment_.now_us() < last + kGreetingIntervalUs) {
    return;
  }
  last = environment_.now_us();
  peers_.greet(from, false);
  if (learnt == Peers::Learnt::kSame) {
    touch_all([&](Session& session) {
      if (session.is_participant(from)) {
        session.on_greeting(from);
      }
    });
    commits_.meet(from);
    pairs_.meet(from);
  }
}

void SessionEngine::Impl::on_sealed(const std::string& from, const SealedPacket& packet) {
  if (!packet.certificate.empty()) {
    const Peers::Learnt learnt = learn(from, packet.certificate);
    if (!usable(learnt)) {
      return;
    }
  }
  if (packet.recipient_generation != environment_.generation) {
    // Meant for the worker before this one: its sender does not know of us yet.
    ++environment_.counters.packets_other_worker;
    peers_.greet(from, false);
    return;
  }
  Link* link = peers_.link(from);
  if (link == nullptr || peers_.certificate(from) == nullptr ||
      packet.sender_generation > link->generation()) {
    ++environment_.counters.packets_unknown;
    peers_.greet(from, true);
    return;
  }
  if (packet.sender_generation < link->generation()) {
    ++environment_.counters.stale_generation;
    return;
  }
  const std::optional<SecretVector> plain = link->open(packet);
  if (!plain) {
    ++environment_.counters.packets_unopened;
    return;
  }
  const std::optional<PacketContents> contents = decode_contents(as_view(*plain));
  if (!contents) {
    ++environment_.counters.packets_malformed;
    return;
  }
  if (!link->received(environment_.now_us(), packet.sequence, *contents)) {
    ++environment_.counters.packets_duplicate;
    return;
  }
  peers_.clear_suspect(from);
  for (const ByteView message : contents->messages) {
    on_message(from, message);
  }
}

SessionEngine::Impl::Running* SessionEngine::Impl::find(const SessionId& id) {
  const auto found = running_.find(id);
  return found == running_.end() ? nullptr : found->second.get();
}

template <class Message, class Body>
void SessionEngine::Impl::route(const std::string& from, ByteView fields, Body&& body) {
  std::optional<Message> message = decode_fields<Message>(fields);
  if (!message) {
    ++environment_.counters.messages_malformed;
    environment_.log(LogLevel::kWarning, "node " + from + " sent a malformed message");
    return;
  }
  const SessionId id = message->session;
  const Running* running = find(id);
  if (running == nullptr) {
    ++environment_.counters.messages_stray;
    return;
  }
  if (!running->session.is_participant(from)) {
    ++environment_.counters.messages_refused;
    return;
  }
  touch(id, [&](Session& session) { body(session, *std::move(message)); });
}

void SessionEngine::Impl::on_start(const std::string& from, ByteView fields) {
  // The hellos' certificates first: one may say that a worker was replaced, which concerns every
  // session.
  const std::optional<Start> start = decode_fields<Start>(fields);
  if (start && find(start->session) != nullptr) {
    for (const SignedHello& hello : start->hellos) {
      const std::optional<Hello> decoded = decode_fields<Hello>(hello.body);
      if (decoded && decoded->node != environment_.node && peers_.known(decoded->node)) {
        (void)learn(decoded->node, hello.certificate);
      }
    }
  }
  if (start && find(start->session) == nullptr) {
    presign([&](Presigner& presigner) { presigner.drop_named(start->presignature, from); });
  }
  route<Start>(from, fields, [&](Session& session, Start message) {
    session.on_start(from, std::move(message));
  });
}

void SessionEngine::Impl::on_message(const std::string& from, ByteView message) {
  const ByteView fields = message.subspan(1);
  switch (static_cast<MessageKind>(message[0])) {
    case MessageKind::kStart:
      on_start(from, fields);
      return;
    case MessageKind::kRound:
      route<Round>(from, fields, [&](Session& session, Round round) {
        session.on_round(from, std::move(round));
      });
      return;
    case MessageKind::kResult:
      route<SignatureResult>(from, fields, [&](Session& session, const SignatureResult& result) {
        session.on_result(from, result);
      });
      return;
    case MessageKind::kAbort:
      route<AttemptAbort>(from, fields, [&](Session& session, const AttemptAbort& abort) {
        session.on_abort(from, abort);
      });
      return;
    case MessageKind::kAdvance:
      route<Advance>(from, fields, [&](Session& session, const Advance& advance) {
        session.on_advance(from, advance);
      });
      return;
    case MessageKind::kDecline:
      route<Decline>(from, fields, [&](Session& session, const Decline& decline) {
        session.on_decline(from, decline);
      });
      return;
    case MessageKind::kAcknowledge:
      if (const auto acknowledge = decode_fields<Acknowledge>(fields)) {
        const Running* running = find(acknowledge->session);
        const bool may_complete = running != nullptr &&
                                  (running->session.phase() == Session::Phase::kRunning ||
                                   running->session.phase() == Session::Phase::kCommitting) &&
                                  running->session.attempt() == acknowledge->attempt;
        commits_.on_acknowledge(
            from, *acknowledge,
            may_complete ? Commits::Standing::kMayComplete : Commits::Standing::kOver);
        run_commit_events();
        return;
      }
      break;
    case MessageKind::kCertificate:
      if (const auto certificate = decode_fields<CommitCertificate>(fields)) {
        commits_.on_certificate(from, *certificate);
        return;
      }
      break;
    case MessageKind::kRefusal:
      if (const auto refusal = decode_fields<Refusal>(fields)) {
        commits_.on_refusal(*refusal);
        return;
      }
      break;
    case MessageKind::kPairNotice:
      if (const auto notice = decode_fields<PairNotice>(fields)) {
        pairs_.on_notice(from, *notice, !draining_);
        return;
      }
      break;
    default: {
      bool read = true;
      presign([&](Presigner& presigner) {
        read = presigner.on_message(from, static_cast<MessageKind>(message[0]), fields);
      });
      if (read) {
        return;
      }
    }
  }
  ++environment_.counters.messages_malformed;
  environment_.log(LogLevel::kWarning, "node " + from + " sent a malformed message");
}

void SessionEngine::Impl::on_no_responders(std::string_view node, std::uint64_t packet) {
  const Environment::SentHello& sent =
      environment_.sent_hellos[packet % environment_.sent_hellos.size()];
  if (sent.packet == packet && packet != 0) {
    const SessionId id = sent.session;
    touch(id, [&](Session& session) { session.on_no_responders(std::string(node)); });
  }
}

void SessionEngine::Impl::on_presence(std::string_view node, bool present) {
  peers_.set_present(node, present);
  if (present) {
    commits_.meet(std::string(node));
    pairs_.meet(std::string(node));
    presigner_.stir();
  } else {
    touch_all([&](Session& session) { session.on_absent(std::string(node)); });
  }
}

}  // namespace cosigner::worker
