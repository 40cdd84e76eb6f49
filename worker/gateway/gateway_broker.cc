// What the broker brings to the gateway: requests and wake-ups, answers to what this node itself
// asked, beacons, service discovery. All of it is untrusted.

#include <unistd.h>

#include <utility>

#include "ipc/worker_exit.h"
#include "worker/gateway/gateway_impl.h"

namespace cosigner::worker {
namespace {

/// Clients waiting for an answer through this gateway; beyond it requests are refused as
/// overloaded.
constexpr std::size_t kMaxPending = 1U << 16;

}  // namespace

std::optional<std::string_view> Gateway::tail(std::string_view subject,
                                              std::string_view middle) const {
  if (!subject.starts_with(prefix_)) {
    return std::nullopt;
  }
  subject.remove_prefix(prefix_.size());
  if (!subject.starts_with(middle)) {
    return std::nullopt;
  }
  subject.remove_prefix(middle.size());
  return subject;
}

void Gateway::on_message(const BrokerMessage& message) {
  if (message.subject.starts_with(inbox_)) {
    on_inbox(std::string_view(message.subject).substr(inbox_.size()), message);
  } else if (message.subject.starts_with("$SRV.")) {
    on_discovery(message);
  } else if (message.subject == prefix_ + "request") {
    on_request("", message);
  } else if (const auto from = tail(message.subject, "gateway.all.")) {
    on_beacon(*from, message);
  } else if (const auto peer = tail(message.subject, "gateway." + start_.node + ".")) {
    on_request(*peer, message);
  } else {
    ++events_.packets_stray;
  }
}

void Gateway::on_state(const BrokerStateChange& change) {
  if (change.state == BrokerState::kClosed) {
    finish();
    _exit(ipc::kExitClean);
  }
  const bool connected = change.state == BrokerState::kSubscribed;
  ipc::BrokerState state;
  state.connected = connected;
  state.detail = change.detail;
  supervisor_->send(state);
  if (!connected) {
    report(presence_->on_disconnected());
    return;
  }
  send_beacon(false);
  if (!std::exchange(ready_sent_, true)) {
    ipc::GatewayReady ready;
    ready.threads = threads_->count();
    threads_.reset();
    supervisor_->send(ready);
  }
}

void Gateway::on_request(std::string_view woken_by, const BrokerMessage& message) {
  // Answers go to inboxes only: a reply subject cannot make this gateway publish anywhere else.
  const bool wants_answer = message.reply.starts_with("_INBOX.");
  if (woken_by.empty() && !wants_answer) {
    ++events_.requests_unanswerable;
    return;
  }
  auto verdict = gate_->check(now_ms(), wall_ms(), woken_by, message.payload);
  if (const auto* refused = std::get_if<RequestGate::Refused>(&verdict)) {
    if (const auto* error = std::get_if<Error>(&refused->answer.content)) {
      discovery_->refused(error_name(error->code));
    }
    if (wants_answer && woken_by.empty()) {
      publish_refusal(message.reply, refused->answer);
    }
    return;
  }
  auto* passed = std::get_if<RequestGate::Passed>(&verdict);
  if (passed == nullptr) {
    return;
  }
  const auto refuse = [&](ErrorCode code, std::string why) {
    gate_->count_refusal(code);
    discovery_->refused(error_name(code));
    if (woken_by.empty()) {
      publish_refusal(message.reply, error_answer(passed->request, passed->session,
                                                  retryable(code, std::move(why), 1000)));
    }
  };
  if (draining_) {
    // It came between the order to drain and the end of the subscriptions.
    refuse(ErrorCode::kShuttingDown, "This node is shutting down; ask again when it is back.");
    return;
  }
  const auto overloaded = [&] {
    refuse(ErrorCode::kOverloaded, "too many requests wait at this gateway");
  };
  if (pending_.size() >= kMaxPending) {
    overloaded();
    return;
  }
  ipc::GatewayRequest request;
  request.request = next_request_++;
  request.user = passed->request.user;
  request.key = passed->request.key;
  request.operation = operation_name(passed->request.operation);
  request.woken_by = woken_by;
  request.session = passed->session;
  request.envelope = message.payload;
  if (!ipc::accepted(supervisor_->send(request))) {
    overloaded();
  } else if (woken_by.empty()) {
    pending_.emplace(request.request, Pending{message.reply, uv_hrtime()});
  }
}

void Gateway::on_inbox(std::string_view token, const BrokerMessage& message) {
  std::uint64_t publish = 0;
  for (const char c : token) {
    if (c < '0' || c > '9') {
      return;
    }
    publish = publish * 10 + static_cast<std::uint64_t>(c - '0');
  }
  if (message.no_responders || !publishes_.contains(publish)) {
    return;
  }
  ipc::PublishedAnswer answer;
  answer.publish = publish;
  answer.envelope = message.payload;
  supervisor_->send(answer);
}

void Gateway::on_beacon(std::string_view node, const BrokerMessage& message) {
  const auto change = presence_->on_beacon(now_ms(), wall_ms() / 1000, node, message.payload);
  if (!change) {
    ++events_.beacons_refused;
    return;
  }
  if (*change) {
    report({**change});
    if ((*change)->present) {
      send_beacon(false);  // a newcomer need not wait for our next interval
    }
  }
}

void Gateway::on_discovery(const BrokerMessage& message) {
  if (!message.reply.starts_with("_INBOX.") || !discoveries_.take(now_ms())) {
    ++events_.discoveries_refused;
    return;
  }
  if (const auto text = discovery_->answer(message.subject)) {
    (void)broker_->publish({message.reply, "", to_vector(as_bytes(*text))});
  }
}

void Gateway::publish_refusal(const std::string& inbox, const RequestAnswer& answer) {
  const ByteVector encoded = encode_answer(answer);
  AnswerEnvelope envelope{
      .node = start_.node,
      .answer = encoded,
      .origin = GatewaySignature{.certificate = start_.certificate,
                                 .signature = ed25519_sign(signing_key_, answer_digest(encoded))}};
  (void)broker_->publish({inbox, "", encode_answer_envelope(envelope)});
}

}  // namespace cosigner::worker
