// What the gateway says. It parses network bytes and may have been taken over: what it may cost
// this process is bounded here, and what it claims finds a worker or changes a view, nothing more.

#include <algorithm>
#include <utility>

#include "ipc/names.h"
#include "supervisor/log/log.h"
#include "supervisor/service/gateway_link.h"
#include "supervisor/service/per_second.h"

namespace cosigner::supervisor {
namespace {

constexpr std::size_t kMaxLogLine = 2048;
/// A renewal costs three signatures; a gateway asks once an hour.
constexpr std::uint32_t kRenewalsPerSecond = 1;

}  // namespace

template <class Message, class Handle>
void GatewayLink::with(const ipc::Frame& frame, Handle handle) {
  auto message = ipc::decode<Message>(frame);
  if (message) {
    handle(*message);
  } else {
    kill(message.error().message);
  }
}

void GatewayLink::on_frame(const ipc::Frame& frame) {
  using Type = ipc::MessageType;
  silent_looks_ = 0;
  switch (frame.type) {
    case Type::kGatewayHello:
      return with<ipc::GatewayHello>(frame, [this](auto& hello) { on_hello(hello); });
    case Type::kGatewayMetrics:
      return with<ipc::GatewayMetrics>(frame, [this](auto& metrics) {
        if (!metrics_.absorb(metrics)) {
          kill("it counted what there is not");
        }
      });
    case Type::kGatewayReady:
      return with<ipc::GatewayReady>(frame, [this](auto&) { on_ready(); });
    case Type::kGatewayRequest:
      return with<ipc::GatewayRequest>(frame,
                                       [this](auto& request) { on_request(std::move(request)); });
    case Type::kPublishedAnswer:
      return with<ipc::PublishedAnswer>(frame, [this](auto& answer) {
        if (const auto found = publishes_.find(answer.publish); found != publishes_.end()) {
          const auto deliver = found->second.on_answer;  // it may cancel
          deliver(std::move(answer.envelope));
        }
      });
    case Type::kPublishFailed:
      return with<ipc::PublishFailed>(frame, [this](auto& failed) {
        if (auto found = publishes_.extract(failed.publish)) {
          const ErrorCode code = error_from_name(failed.error_name);
          found.mapped().on_failed(
              {.code = code,
               .message = failed.error_message,
               .retryable = code == ErrorCode::kPeerUnreachable || code == ErrorCode::kOverloaded});
        }
      });
    case Type::kPeerPresence:
      return with<ipc::PeerPresence>(frame, [this](auto& presence) { on_presence(presence); });
    case Type::kBrokerState:
      return with<ipc::BrokerState>(frame,
                                    [this](auto& state) { on_broker_state(std::move(state)); });
    case Type::kRenewAsk:
      return with<ipc::RenewAsk>(frame, [this](auto&) { on_renew(); });
    case Type::kHeartbeat:
      return;
    case Type::kLog:
      return with<ipc::Log>(frame, [this](auto& line) { on_log(line); });
    default:
      kill("it sent a frame of a type that no gateway sends");
  }
}

void GatewayLink::on_hello(const ipc::GatewayHello& hello) {
  if (hello_) {
    kill("it said hello twice");
    return;
  }
  hello_ = hello;
  const std::uint64_t now_s = wall_seconds();
  auto access = issuer_.broker_access({{}, generation_}, hello.broker_key, now_s);
  if (!access) {
    kill(access.error().message);
    return;
  }
  ipc::GatewayStart start;
  start.cluster = config_.cluster;
  start.node = config_.node;
  start.generation = generation_;
  start.certificate = issuer_.gateway_certificate(generation_, hello.signing_key, now_s);
  start.broker = std::move(*access);
  start.peers = config_.peers;
  start.initiators = config_.initiators;
  start.settings = config_.sessions;
  if (!send(start)) {
    // It would wait for ever. What fills a frame is the list of initiators.
    kill(
        "its start cannot be sent: if it is too large, the configuration names too many "
        "initiators or peers");
  }
}

void GatewayLink::set_broker_connected(bool connected) {
  if (connected && !broker_connected_ && std::exchange(broker_was_connected_, true)) {
    ++broker_reconnects_;
  }
  broker_connected_ = connected;
}

void GatewayLink::on_ready() {
  if (!hello_ || ready_) {
    return;
  }
  ready_ = true;
  set_broker_connected(true);
  presence_timer_.start(config_.sessions.presence_timeout_ms +
                        config_.sessions.presence_interval_ms);
  log_about(about({}, generation_), spdlog::level::info, "gateway: ready");
  outlets_.on_change();
}

void GatewayLink::on_renew() {
  if (!hello_ || !renewals_.take(monotonic_ms(), kRenewalsPerSecond)) {
    return;
  }
  const std::uint64_t now_s = wall_seconds();
  auto access = issuer_.broker_access({{}, generation_}, hello_->broker_key, now_s);
  if (!access) {
    return;
  }
  ipc::Renewed renewed;
  renewed.certificate = issuer_.gateway_certificate(generation_, hello_->signing_key, now_s);
  renewed.broker = std::move(*access);
  send(renewed);
}

void GatewayLink::on_request(ipc::GatewayRequest request) {
  // The gateway parses network bytes and may have been taken over: nothing of its frame is used for
  // more than finding the worker, which checks the envelope again.
  if (!valid_user_name(request.user) || (!request.key.empty() && !valid_key_name(request.key)) ||
      request.operation.size() > 32) {
    kill("it sent a request with names that are none");
    return;
  }
  if (request.envelope.empty()) {
    kill("it sent a request without one");
    return;
  }
  RequestInfo info;
  info.has_client = request.woken_by.empty();
  info.gateway_generation = generation_;
  info.gateway_request = request.request;
  info.session = request.session;
  info.operation = std::move(request.operation);
  info.key = std::move(request.key);
  outlets_.request(request.user, std::move(info), std::move(request.envelope));
}

void GatewayLink::on_presence(const ipc::PeerPresence& presence) {
  const bool known =
      std::ranges::find(config_.peers, presence.node, &ipc::Peer::node) != config_.peers.end();
  if (!known || presence.node == config_.node) {
    return;
  }
  heard_.insert(presence.node);
  presence_states_.want(presence.node, presence.present);
  settle();
}

void GatewayLink::on_broker_state(ipc::BrokerState state) {
  state.detail.resize(std::min(state.detail.size(), kMaxLogLine));
  broker_states_.want("broker", {state.connected, std::move(state.detail)});
  settle();
}

void GatewayLink::on_log(const ipc::Log& line) {
  if (log_lines_.take(monotonic_ms(), kLogLinesPerSecond)) {
    spdlog::log(spdlog_level(line.level), "{}",
                std::string_view(line.message).substr(0, kMaxLogLine));
  }
}

void GatewayLink::settle() {
  const std::int64_t now = monotonic_ms();
  presence_states_.settle(now, [this](const std::string& node, bool present) {
    const bool changed = present ? present_.insert(node).second : present_.erase(node) > 0;
    if (changed) {
      spdlog::info("peer {} is {}", node, present ? "present" : "absent");
      outlets_.presence(node, present);
    }
  });
  broker_states_.settle(now, [this](const std::string&, const BrokerView& view) {
    spdlog::log(view.connected ? spdlog::level::info : spdlog::level::warn, "broker: {} {}",
                view.connected ? "connected" : "disconnected", view.detail);
    set_broker_connected(view.connected);
    broker_detail_ = view.detail;
    outlets_.on_change();
  });
  std::optional<std::int64_t> next = presence_states_.next();
  if (const auto other = broker_states_.next(); other && (!next || *other < *next)) {
    next = other;
  }
  if (next) {
    settle_timer_.start(static_cast<std::uint64_t>(std::max<std::int64_t>(1, *next - now)));
  }
}

}  // namespace cosigner::supervisor
