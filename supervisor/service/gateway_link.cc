#include "supervisor/service/gateway_link.h"

#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "ipc/seqpacket.h"
#include "supervisor/log/log.h"

namespace cosigner::supervisor {
namespace {

constexpr BudgetLimits kBudget{
    .max_restarts = 1000, .window_ms = 60'000, .backoff_first_ms = 50, .backoff_cap_ms = 5000};
/// How long a start waits for what it needs (a generation) before it asks again.
constexpr std::uint64_t kAskAgainMs = 5;
constexpr std::uint64_t kLookEveryMs = 500;
/// Changes of one peer's presence, and of the broker: four at once (a broker that restarts), then
/// one a second. Each presence goes to every worker.
constexpr std::int64_t kChangeEveryMs = 1000;
constexpr std::int64_t kChangesAtOnce = 4;
/// A gateway with requests waiting behind an unread socket is of no use.
constexpr std::size_t kMaxQueuedBytes = 64U << 20;

}  // namespace

GatewayLink::GatewayLink(uv_loop_t* loop, const Config& config, const Issuer& issuer,
                         ProcessTree& tree, NodeMetrics& metrics, Random& random, Outlets outlets)
    : loop_(loop),
      config_(config),
      issuer_(issuer),
      tree_(tree),
      metrics_(metrics),
      random_(random),
      outlets_(std::move(outlets)),
      presence_states_(kChangeEveryMs, kChangesAtOnce),
      broker_states_(kChangeEveryMs, kChangesAtOnce),
      restart_timer_(loop, [this] { try_start(); }),
      watch_timer_(loop,
                   [this] {
                     // Looks are counted, not milliseconds: while this process does not run
                     // there are none, and what the gateway said meanwhile is not read yet.
                     const std::uint64_t limit =
                         1000ULL * (ready_ ? config_.workers.unresponsive_s
                                           : config_.workers.start_timeout_s);
                     if (++silent_looks_ * kLookEveryMs >= limit) {
                       kill(ready_ ? "it showed no life" : "it did not become ready in time");
                     }
                   }),
      stop_timer_(loop,
                  [this] {
                    if (process_) {
                      kill("it did not end in time");
                    } else {
                      died("its fork was still under way");
                    }
                  }),
      settle_timer_(loop, [this] { settle(); }),
      presence_timer_(loop, [this] {
        for (const std::string& node : present_) {
          if (node != config_.node && !heard_.contains(node)) {
            presence_states_.want(node, false);
          }
        }
        settle();
        waited_for_peers_ = true;
        outlets_.on_change();
      }) {
  present_.insert(config_.node);
}

GatewayLink::~GatewayLink() = default;

bool GatewayLink::knows_peers() const {
  return ready_ &&
         (waited_for_peers_ || std::ranges::all_of(config_.peers, [this](const ipc::Peer& peer) {
            return peer.node == config_.node || heard_.contains(peer.node);
          }));
}

const char* GatewayLink::state() const {
  return ready_ ? "ready" : (forking_ || process_) ? "starting" : "backoff";
}

// ---- life

void GatewayLink::start() {
  try_start();
}

void GatewayLink::try_start() {
  if (stopping_ || forking_ || process_) {
    return;
  }
  const auto generation = outlets_.take_generation();
  if (!generation) {
    restart_timer_.start(kAskAgainMs);
    return;
  }
  auto pair = ipc::socket_pair(SOCK_STREAM);
  auto crash_pipe = CrashPipe::open();
  if (!pair || !crash_pipe) {
    died(pair ? crash_pipe.error().message : pair.error().message);
    return;
  }
  dead_channel_.reset();
  ipc::FrameChannel::Handlers handlers;
  handlers.on_frame = [this](const ipc::Frame& frame) { on_frame(frame); };
  handlers.on_close = [this](ipc::CloseReason, std::string_view detail) { on_socket_end(detail); };
  ipc::FrameChannel::Limits limits;
  limits.max_queued_bytes = kMaxQueuedBytes;
  auto channel =
      ipc::FrameChannel::open(loop_, std::move(pair->first), std::move(handlers), limits);
  if (!channel) {
    died(channel.error().message);
    return;
  }
  generation_ = *generation;
  channel_ = std::move(*channel);
  channel_->set_generation(generation_);
  hello_.reset();
  heard_.clear();
  waited_for_peers_ = false;
  forking_ = true;
  silent_looks_ = 0;
  watch_timer_.start(kLookEveryMs, kLookEveryMs);
  crash_pipe_ = std::move(*crash_pipe);
  tree_.fork(ipc::Role::kGateway, {}, generation_,
             {std::move(pair->second), crash_pipe_.take_writer()},
             [this, mine = generation_](pid_t pid, const std::string& error) {
               forked(mine, pid, error);
             });
}

void GatewayLink::forked(std::uint64_t generation, pid_t pid, const std::string& error) {
  if (generation != generation_ || !forking_) {
    return;
  }
  forking_ = false;
  const bool unwanted = std::exchange(kill_when_forked_, false) || stopping_;
  if (pid <= 0) {
    died(error);
    return;
  }
  auto process = ChildProcess::watch(loop_, pid, [this](ExitStatus status) { exited(status); });
  if (!process) {
    reap_child(pid);
    died(process.error().message);
    return;
  }
  process_ = std::move(*process);
  tree_.know(pid);
  if (unwanted) {
    process_->kill(SIGKILL);
  }
}

void GatewayLink::kill(std::string_view why) {
  if (!process_ && !forking_) {
    return;
  }
  log_about(about({}, generation_), spdlog::level::warn, "gateway: killed: {}", why);
  watch_timer_.stop();
  if (process_) {
    process_->kill(SIGKILL);
  } else {
    kill_when_forked_ = true;  // it spoke before the zygote did
  }
}

void GatewayLink::on_socket_end(std::string_view why) {
  if (!channel_) {
    return;
  }
  dead_channel_ = std::move(channel_);  // it is calling us
  if (!stopping_) {
    kill(why.empty() ? "it closed its socket" : why);
  }
}

void GatewayLink::exited(ExitStatus status) {
  if (process_) {
    tree_.forget(process_->pid());
  }
  const auto process = std::move(process_);
  if (status.signalled &&
      (status.code == SIGSEGV || status.code == SIGBUS || status.code == SIGILL ||
       status.code == SIGABRT || status.code == SIGSYS)) {
    tree_.note_bad_death();
  }
  if (const auto record = crash_pipe_.read()) {
    spdlog::warn("gateway generation={}: crash record: {}", generation_, record->text());
  }
  died(status.describe());
}

void GatewayLink::died(const std::string& why) {
  if (channel_) {
    dead_channel_ = std::move(channel_);
    dead_channel_->close();
  }
  forking_ = false;
  ready_ = false;
  set_broker_connected(false);
  watch_timer_.stop();
  presence_timer_.stop();
  stop_timer_.stop();
  for (auto& [number, publish] : std::exchange(publishes_, {})) {
    publish.on_failed(
        {.code = stopping_ ? ErrorCode::kShuttingDown : ErrorCode::kWorkerCrashed,
         .message = stopping_ ? "This node shut down; other nodes may have the request."
                              : "This node's gateway died; other nodes may have the request.",
         .may_have_executed = true,
         .retryable = true});
  }
  if (stopping_) {
    outlets_.on_gone();
    return;
  }
  ++restarts_;
  const std::int64_t delay = budget_.note_death(kBudget, monotonic_ms(), random_);
  log_about(about({}, generation_), spdlog::level::warn, "gateway: {}; starting another in {} ms",
            why, delay);
  restart_timer_.start(static_cast<std::uint64_t>(delay));
  outlets_.on_change();
}

void GatewayLink::stop(std::int64_t deadline_ms) {
  stopping_ = true;
  restart_timer_.stop();
  watch_timer_.stop();
  if (!process_ && !forking_) {
    outlets_.on_gone();
    return;
  }
  ipc::Drain drain;
  drain.deadline_ms = static_cast<std::uint32_t>(deadline_ms);
  if (!ready_ || !send(drain)) {
    kill("it cannot be asked to end");
  }
  stop_timer_.start(static_cast<std::uint64_t>(deadline_ms));
}

// ---- what goes out

bool GatewayLink::sent(ipc::SendStatus status, ipc::MessageType type) {
  if (status == ipc::SendStatus::kFull) {
    kill("it does not read its socket");
  } else if (status == ipc::SendStatus::kTooLarge) {
    spdlog::error(
        "gateway generation={}: a message of type {} is larger than a frame may be and "
        "was not sent",
        generation_, static_cast<unsigned>(type));
  }
  return ipc::accepted(status);
}

void GatewayLink::answer(const RequestInfo& info, ByteVector envelope) {
  if (info.gateway_generation != generation_ || !ready_) {
    ++answers_lost_;
    return;
  }
  ipc::GatewayAnswer answer;
  answer.request = info.gateway_request;
  answer.envelope = std::move(envelope);
  if (!send(answer)) {
    ++answers_lost_;
  }
}

void GatewayLink::reconfigure(const ipc::Reconfigured& change) {
  const auto is_no_peer = [&](const std::string& node) {
    return std::ranges::find(change.peers, node, &ipc::Peer::node) == change.peers.end();
  };
  std::erase_if(present_, is_no_peer);
  presence_states_.forget(is_no_peer);
  if (hello_) {
    send(change);  // one that has not said hello gets it all at its start
  }
}

void GatewayLink::wake(const ipc::PublishWake& wake) {
  if (ready_) {
    send(wake);
  }
}

Expected<std::uint64_t> GatewayLink::publish(ByteVector envelope, Publish publish) {
  if (stopping_) {
    return std::unexpected(retryable(ErrorCode::kShuttingDown,
                                     "This node is shutting down; ask again when it is back."));
  }
  if (!ready_) {
    return std::unexpected(
        retryable(ErrorCode::kOverloaded, "This node's gateway is starting; ask again.", 200));
  }
  if (publishes_.size() >= kMaxPublishes) {
    return std::unexpected(
        retryable(ErrorCode::kOverloaded, "Too many submitted requests wait on this node.", 500));
  }
  ipc::PublishRequest request;
  request.publish = next_publish_++;
  request.envelope = std::move(envelope);
  if (!send(request)) {
    return std::unexpected(
        retryable(ErrorCode::kOverloaded, "This node's gateway does not take requests now.", 200));
  }
  publishes_.emplace(request.publish, std::move(publish));
  return request.publish;
}

void GatewayLink::cancel(std::uint64_t publish) {
  if (publishes_.erase(publish) > 0) {
    ipc::PublishDone done;
    done.publish = publish;
    send(done);
  }
}

}  // namespace cosigner::supervisor
