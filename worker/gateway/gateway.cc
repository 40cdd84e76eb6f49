// The gateway's life: what the supervisor says to it, and what it says with time.

#include "worker/gateway/gateway.h"

#include <unistd.h>
#include <uv.h>

#include <chrono>
#include <utility>

#include "crypto/identity/certificate.h"
#include "ipc/metrics_messages.h"
#include "ipc/names.h"
#include "ipc/worker_exit.h"
#include "worker/gateway/gateway_impl.h"
#include "worker/sandbox/sandbox.h"

namespace cosigner::worker {
namespace {

/// Ask for a new certificate this long before the present one ends.
constexpr std::uint64_t kRenewBeforeSeconds = 900;
/// A request of 2 MiB comes in eight reads, and not in 128 as a worker's 16 KiB would have it.
constexpr int kLinkBufferBytes = 256 << 10;

}  // namespace

// ---- supervisor

bool Gateway::open(int socket_fd) {
  ipc::FrameChannel::Handlers handlers;
  handlers.on_frame = [this](const ipc::Frame& frame) { on_frame(frame); };
  // Without a supervisor there is nothing to be a gateway of.
  handlers.on_close = [](ipc::CloseReason, std::string_view) { _exit(ipc::kExitClean); };
  handlers.on_exception = [this](std::string_view what) {
    log(ipc::LogLevel::kError, "a handler failed: " + std::string(what));
  };
  auto channel = ipc::FrameChannel::open(loop_, ipc::UniqueFd(socket_fd), std::move(handlers));
  if (!channel) {
    return false;
  }
  supervisor_ = std::move(*channel);
  supervisor_->set_generation(generation_);
  uv_timer_init(loop_, &timer_);
  timer_.data = this;
  ipc::GatewayHello hello;
  hello.signing_key = ed25519_public_key(signing_key_);
  hello.broker_key = ed25519_public_key(broker_key_);
  return ipc::accepted(supervisor_->send(hello));
}

void Gateway::on_frame(const ipc::Frame& frame) {
  switch (frame.type) {
    case ipc::MessageType::kGatewayStart:
      if (auto message = ipc::decode<ipc::GatewayStart>(frame); message && !broker_) {
        start(std::move(*message));
      }
      break;
    case ipc::MessageType::kGatewayAnswer:
      if (const auto message = ipc::decode<ipc::GatewayAnswer>(frame)) {
        answer(*message);
      }
      break;
    case ipc::MessageType::kPublishRequest:
      if (const auto message = ipc::decode<ipc::PublishRequest>(frame)) {
        publish_request(*message);
      }
      break;
    case ipc::MessageType::kPublishDone:
      if (const auto message = ipc::decode<ipc::PublishDone>(frame)) {
        publishes_.erase(message->publish);
      }
      break;
    case ipc::MessageType::kPublishWake:
      if (auto message = ipc::decode<ipc::PublishWake>(frame);
          message && broker_ && valid_node_name(message->node)) {
        // Lost if there is no broker: whoever wakes tries again.
        (void)broker_->publish({prefix_ + "gateway." + message->node + "." + start_.node, "",
                                std::move(message->envelope)});
      }
      break;
    case ipc::MessageType::kRenewed:
      if (auto message = ipc::decode<ipc::Renewed>(frame); message && broker_) {
        const auto certificate = decode_certificate(message->certificate);
        if (certificate) {
          start_.certificate = std::move(message->certificate);
          certificate_ends_ = certificate->not_after;
          renewal_asked_ = false;
          broker_->renew(std::move(message->broker));
        }
      }
      break;
    case ipc::MessageType::kReconfigured:
      if (auto message = ipc::decode<ipc::Reconfigured>(frame); message && broker_) {
        reconfigure(std::move(*message));
      }
      break;
    case ipc::MessageType::kDrain:
      drain();
      break;
    default:
      log(ipc::LogLevel::kWarning, "a frame of a type that no gateway takes was dropped");
  }
}

void Gateway::start(ipc::GatewayStart start) {
  start_ = std::move(start);
  threads_.emplace();
  const auto sandbox = enter_sandbox(start_.broker.url);
  if (!sandbox) {
    log(ipc::LogLevel::kError, "the sandbox could not be entered: " + sandbox.error().message);
    _exit(ipc::kExitSoftware);
  }
  log(ipc::LogLevel::kDebug, sandbox->text());
  prefix_ = "cosigner." + start_.cluster + ".";
  inbox_ = "_INBOX." + start_.node + "." + std::to_string(generation_) + ".";
  const auto certificate = decode_certificate(start_.certificate);
  certificate_ends_ = certificate ? certificate->not_after : 0;
  gate_ = std::make_unique<RequestGate>(start_.cluster, other_nodes(), start_.initiators,
                                        start_.settings);
  discovery_ = std::make_unique<Discovery>(start_.cluster, start_.node, generation_, wall_ms());
  presence_ = std::make_unique<PresenceTable>(start_.cluster, start_.node, start_.peers,
                                              start_.settings.presence_timeout_ms);

  BrokerOptions options;
  options.access = start_.broker;
  options.link.name = "cosigner gateway " + start_.node;
  options.link.subjects = {prefix_ + "request", prefix_ + "gateway." + start_.node + ".>",
                           prefix_ + "gateway.all.>", "_INBOX." + start_.node + ".>", "$SRV.>"};
  options.link.buffer_bytes = kLinkBufferBytes;
  BrokerConnection::Handlers handlers;
  handlers.on_message = [this](const BrokerMessage& message) {
    try {
      on_message(message);
    } catch (const std::exception& error) {
      log(ipc::LogLevel::kError, std::string("handling a message failed: ") + error.what());
    }
  };
  handlers.on_state = [this](const BrokerStateChange& change) { on_state(change); };
  handlers.on_problem = [this](const BrokerProblem& problem) {
    log(ipc::LogLevel::kWarning, "broker: " + problem.detail);
  };
  handlers.on_drained = [this] {
    drained_ = true;
    leave_when_answered();
  };
  broker_ = std::make_unique<BrokerConnection>(loop_, std::move(options), std::move(broker_key_),
                                               std::move(handlers));
  start_timer();
}

void Gateway::start_timer() {
  const std::uint64_t interval = start_.settings.presence_interval_ms;
  uv_timer_start(
      &timer_, [](uv_timer_t* timer) { static_cast<Gateway*>(timer->data)->on_timer(); }, interval,
      interval);
}

std::vector<std::string> Gateway::other_nodes() const {
  std::vector<std::string> out;
  for (const ipc::Peer& peer : start_.peers) {
    if (peer.node != start_.node) {
      out.push_back(peer.node);
    }
  }
  return out;
}

void Gateway::reconfigure(ipc::Reconfigured change) {
  start_.peers = std::move(change.peers);
  start_.settings = change.settings;
  gate_->reconfigure(other_nodes(), std::move(change.initiators), start_.settings);
  report(presence_->reconfigure(start_.peers, start_.settings.presence_timeout_ms));
  start_timer();
  send_beacon(false);  // a peer that is new here may know us already
}

void Gateway::answer(const ipc::GatewayAnswer& answer) {
  const auto found = pending_.find(answer.request);
  if (found == pending_.end()) {
    return;
  }
  // A broker that is away loses the answer: the client asks again and gets the stored result.
  (void)broker_->publish({found->second.inbox, "", answer.envelope});
  discovery_->answered(uv_hrtime() - found->second.since_ns);
  pending_.erase(found);
  leave_when_answered();
}

void Gateway::publish_request(const ipc::PublishRequest& request) {
  const auto refuse = [&](ErrorCode code, std::string message) {
    ipc::PublishFailed failed;
    failed.publish = request.publish;
    failed.error_name = error_name(code);
    failed.error_message = std::move(message);
    supervisor_->send(failed);
  };
  if (request.envelope.size() > start_.settings.max_envelope_bytes) {
    refuse(ErrorCode::kBadRequest, "the request is larger than " +
                                       std::to_string(start_.settings.max_envelope_bytes) +
                                       " bytes");
    return;
  }
  publishes_.insert(request.publish);
  if (!broker_ || !broker_->publish({prefix_ + "request", inbox_ + std::to_string(request.publish),
                                     request.envelope})) {
    publishes_.erase(request.publish);
    refuse(ErrorCode::kPeerUnreachable,
           "this node's connection to its broker is down: check nats-server and try again");
  }
}

void Gateway::drain() {
  if (std::exchange(draining_, true)) {
    return;
  }
  if (broker_) {
    send_beacon(true);
    broker_->drain();  // kClosed ends the process
  } else {
    finish();
    _exit(ipc::kExitClean);
  }
}

void Gateway::leave_when_answered() {
  if (drained_ && pending_.empty()) {
    send_metrics();
    broker_->close();
  }
}

void Gateway::finish() {
  if (supervisor_) {
    supervisor_->shutdown();
  }
}

// ---- time

void Gateway::on_timer() {
  if (draining_) {
    return;
  }
  send_beacon(false);
  report(presence_->on_timer(now_ms()));
  ipc::Heartbeat heartbeat;
  heartbeat.in_flight = static_cast<std::uint32_t>(pending_.size());
  supervisor_->send(heartbeat);
  send_metrics();
  if (!renewal_asked_ && wall_ms() / 1000 + kRenewBeforeSeconds > certificate_ends_) {
    renewal_asked_ = true;
    ipc::RenewAsk ask;
    ask.not_after = certificate_ends_;
    supervisor_->send(ask);
  }
}

void Gateway::send_metrics() {
  const GateCounters counted = gate_->take_counters();
  ipc::GatewayMetrics metrics;
  for (const auto& [code, count] : counted.by_error) {
    ipc::RefusalTally tally;
    tally.error = error_name(code);
    tally.count = count;
    metrics.refused.push_back(std::move(tally));
  }
  metrics.dropped_refusals = counted.dropped_refusals;
  metrics.dropped_repeats = counted.dropped_repeats;
  metrics.dropped_strangers = counted.dropped_strangers;
  events_.publishes_refused = broker_->refused();
  const bool happened = events_ != told_events_;
  metrics.events = ipc::take_since(told_events_, events_);
  if (!metrics.refused.empty() || counted.dropped() > 0 || happened) {
    supervisor_->send(metrics);
  }
}

void Gateway::send_beacon(bool bye) {
  if (broker_->subscribed()) {
    (void)broker_->publish({prefix_ + "gateway.all." + start_.node, "",
                            encode_beacon({++beacons_, bye}, start_.certificate, signing_key_)});
  }
}

void Gateway::report(const std::vector<PresenceChange>& changes) {
  for (const PresenceChange& change : changes) {
    ipc::PeerPresence presence;
    presence.node = change.node;
    presence.present = change.present;
    supervisor_->send(presence);
  }
}

void Gateway::log(ipc::LogLevel level, std::string message) {
  ipc::Log line;
  line.level = level;
  line.message = "gateway: " + std::move(message);
  supervisor_->send(line);
}

std::uint64_t Gateway::wall_ms() {
  using namespace std::chrono;
  return static_cast<std::uint64_t>(
      duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
}

int run_gateway(int socket_fd, std::uint64_t generation) {
  uv_loop_t loop;
  if (uv_loop_init(&loop) != 0) {
    return ipc::kExitSoftware;
  }
  Gateway gateway(&loop, generation);
  if (!gateway.open(socket_fd)) {
    return ipc::kExitSoftware;
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  return ipc::kExitClean;
}

}  // namespace cosigner::worker
