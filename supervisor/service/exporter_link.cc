#include "supervisor/service/exporter_link.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <array>
#include <csignal>

#include "ipc/seqpacket.h"
#include "supervisor/config/listen_address.h"
#include "supervisor/process/spawn.h"

namespace cosigner::supervisor {
namespace {

constexpr BudgetLimits kExporterBudget{
    .max_restarts = 1000, .window_ms = 60'000, .backoff_first_ms = 100, .backoff_cap_ms = 10'000};
/// A snapshot has some 100 KB; one that does not read its answers is of no use.
constexpr std::size_t kMaxQueuedAnswerBytes = 2U << 20;
constexpr std::size_t kMaxAskBytes = 256;

}  // namespace

ExporterLink::ExporterLink(uv_loop_t* loop, ProcessTree& tree, Random& random, Outlets outlets)
    : loop_(loop),
      tree_(tree),
      random_(random),
      outlets_(std::move(outlets)),
      restart_timer_(loop, [this] { launch(); }) {}

ExporterLink::~ExporterLink() {
  *alive_ = false;
}

Expected<void> ExporterLink::start(const std::string& listen, std::string program) {
  if (listen.empty()) {
    return {};
  }
  const auto address = parse_listen_address(listen);
  if (!address) {
    return fail(ErrorCode::kBadRequest, "metrics.listen: " + listen + " is no loopback address");
  }
  auto listener = listen_on(*address);
  if (!listener) {
    return fail(listener.error().code, "metrics.listen: " + listen + ": " +
                                           listener.error().message +
                                           " (choose another port; who has it: ss -ltnp)");
  }
  listener_ = std::move(*listener);
  program_ = std::move(program);
  launch();
  return {};
}

void ExporterLink::launch() {
  dead_channel_.reset();
  auto pair = ipc::socket_pair(SOCK_STREAM);
  if (!pair) {
    died(pair.error().message);
    return;
  }
  const std::array<int, 2> descriptors{pair->second.get(), listener_.get()};
  const auto pid = spawn(program_, {"cosigner-exporter"}, descriptors);
  if (!pid) {
    died(pid.error().message);
    return;
  }
  tree_.know(*pid);
  auto process = ChildProcess::watch(loop_, *pid, [this](ExitStatus status) {
    tree_.forget(process_->pid());
    const auto gone = std::move(process_);
    died(status.describe());
  });
  if (!process) {
    reap_child(*pid);
    tree_.forget(*pid);
    died(process.error().message);
    return;
  }
  process_ = std::move(*process);
  ++run_;
  ipc::FrameChannel::Handlers handlers;
  handlers.on_frame = [this](const ipc::Frame& frame) { on_frame(frame); };
  handlers.on_close = [this](ipc::CloseReason, std::string_view) {
    dead_channel_ = std::move(channel_);  // it is calling us
    if (process_) {
      process_->kill(SIGKILL);
    }
  };
  auto channel = ipc::FrameChannel::open(
      loop_, std::move(pair->first), std::move(handlers),
      {.max_queued_bytes = kMaxQueuedAnswerBytes, .max_frame_bytes = kMaxAskBytes});
  if (!channel) {
    process_->kill(SIGKILL);
    return;
  }
  channel_ = std::move(*channel);
}

void ExporterLink::on_frame(const ipc::Frame& frame) {
  const auto ask = ipc::decode<ipc::MetricsAsk>(frame);
  if (!ask) {
    process_->kill(SIGKILL);
    return;
  }
  const auto reply = [this, number = ask->ask, run = run_](const std::string& text) {
    if (run != run_ || !channel_) {
      return;
    }
    ipc::MetricsSnapshot snapshot;
    snapshot.ask = number;
    snapshot.why = outlets_.not_ready();
    snapshot.ready = snapshot.why.empty();
    snapshot.text = to_vector(as_bytes(text));
    if (!ipc::accepted(channel_->send(snapshot)) && process_) {
      process_->kill(SIGKILL);
    }
  };
  if (!ask->text) {
    reply({});
    return;
  }
  outlets_.text([alive = alive_, reply](const std::string& text) {
    if (*alive) {
      reply(text);
    }
  });
}

void ExporterLink::died(const std::string& why) {
  if (channel_) {
    dead_channel_ = std::move(channel_);
    dead_channel_->close();
  }
  if (!wanted()) {
    return;  // stopped
  }
  ++restarts_;
  const std::int64_t delay = budget_.note_death(kExporterBudget, monotonic_ms(), random_);
  spdlog::warn("exporter: {}; starting another in {} ms", why, delay);
  restart_timer_.start(static_cast<std::uint64_t>(delay));
}

void ExporterLink::stop() {
  listener_.reset();
  restart_timer_.stop();
  if (process_) {
    process_->kill(SIGKILL);  // it has nothing to finish
  }
}

}  // namespace cosigner::supervisor
