#include "supervisor/service/node.h"

#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <filesystem>

#include "supervisor/config/cross_check.h"
#include "supervisor/log/log.h"
#include "supervisor/process/own_sandbox.h"
#include "supervisor/process/state_lock.h"
#include "supervisor/service/commands.h"

namespace cosigner::supervisor {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kPurgeEveryMs = 60'000;
constexpr std::uint64_t kPurgeAtOnce = 10'000;
/// After the workers' deadline, or the last of them: a goodbye takes milliseconds.
constexpr std::int64_t kGatewayFarewellMs = 1000;
constexpr std::uint64_t kFarewellMs = 1500;

}  // namespace

Expected<std::unique_ptr<Node>> Node::open(uv_loop_t* loop, Config config,
                                           std::optional<ipc::UniqueFd> control_socket) {
  auto lock = lock_state(config.state_directory, 5000ms);
  if (!lock) {
    return std::unexpected(lock.error());
  }
  wait_for_stragglers(config.state_directory, 2000ms);
  auto children = lock_children(config.state_directory, 5000ms);
  if (!children) {
    return std::unexpected(children.error());
  }
  if (::chdir(config.state_directory.c_str()) != 0) {
    return fail(ErrorCode::kStorageFailed,
                "state directory " + config.state_directory + " cannot be entered");
  }
  auto issuer = Issuer::load(config);
  if (!issuer) {
    return std::unexpected(issuer.error());
  }
  if (auto walls = enter_own_sandbox(); !walls) {
    return std::unexpected(walls.error());
  }
  std::unique_ptr<Node> node(
      new Node(loop, std::move(config), std::move(*lock), std::move(*issuer)));
  if (auto started = node->start(std::move(*children), std::move(control_socket)); !started) {
    return std::unexpected(started.error());
  }
  return node;
}

Node::Node(uv_loop_t* loop, Config config, ipc::UniqueFd lock, Issuer issuer)
    : loop_(loop),
      config_(std::move(config)),
      lock_(std::move(lock)),
      issuer_(std::move(issuer)),
      started_at_ms_(monotonic_ms()),
      tick_timer_(loop, [this] { pool_->tick(); }),
      purge_timer_(loop, [this] { purge(); }),
      watchdog_timer_(loop, [this] { alive(); }),
      stop_timer_(loop, [this] { stop_deadline(); }),
      farewell_timer_(loop, [this] {
        spdlog::warn("stopping without a goodbye: something did not end in time");
        end_calls(nullptr);
        stopped();
      }) {}

Node::~Node() = default;

Expected<void> Node::start(ipc::UniqueFd children, std::optional<ipc::UniqueFd> control_socket) {
  auto store = Store::open(config_.state_directory + "/cosigner.db", issuer_.key_encryption_key(),
                           {config_.cluster, config_.node, config_.peers});
  if (!store) {
    return std::unexpected(store.error());
  }
  NodeMetrics::Identity self{COSIGNER_VERSION, config_.cluster, config_.node, {}};
  for (const ipc::Peer& peer : config_.peers) {
    if (peer.node != config_.node) {
      self.peers.push_back(peer.node);
    }
  }
  metrics_ = std::make_unique<NodeMetrics>(self);
  store_ = std::make_unique<StoreThread>(loop_, std::move(*store));
  tree_ =
      std::make_unique<ProcessTree>(loop_, config_.worker_program, random_, [this] { changed(); });
  tree_->keep(std::move(children));
  gateway_ = std::make_unique<GatewayLink>(
      loop_, config_, issuer_, *tree_, *metrics_, random_,
      GatewayLink::Outlets{
          .request =
              [this](const std::string& user, RequestInfo info, ByteVector envelope) {
                pool_->request(user, std::move(info), std::move(envelope));
              },
          .presence = [this](const std::string& node, bool present) { on_presence(node, present); },
          .take_generation = [this] { return pool_->take_generation(); },
          .on_change = [this] { changed(); },
          .on_gone = [this] { end_calls([this] { stopped(); }); }});
  pool_ = std::make_unique<WorkerPool>(
      loop_, config_, issuer_, *store_, *tree_, *metrics_, random_,
      WorkerPool::Outlets{
          .answer = [this](const RequestInfo& info,
                           ByteVector envelope) { gateway_->answer(info, std::move(envelope)); },
          .wake = [this](const ipc::PublishWake& wake) { gateway_->wake(wake); },
          .present =
              [this] {
                return std::vector<std::string>(gateway_->present().begin(),
                                                gateway_->present().end());
              },
          .on_change =
              [this](const action::Changed& change) {
                const auto serving = [](UserState state) {
                  return state == UserState::kReady || state == UserState::kBusy;
                };
                const bool every_request = serving(change.from) && serving(change.to);
                events_.emit("user", change.user, user_state_name(change.from),
                             user_state_name(change.to), change.generation, change.reason,
                             every_request ? Events::Keep::kNo : Events::Keep::kYes);
                if (every_request) {
                  return;
                }
                const bool bad =
                    change.to == UserState::kBackoff || change.to == UserState::kQuarantined;
                log_about(about(change.user, change.generation),
                          bad ? spdlog::level::warn : spdlog::level::debug, "{} -> {}: {}",
                          user_state_name(change.from), user_state_name(change.to), change.reason);
              },
          .on_crash =
              [this](const std::string& user, std::uint64_t generation, const std::string& record) {
                events_.emit("crash", user, "", "", generation, record);
              },
          .decided = [](const Decision& decision) { audit_request(decision); },
          .on_evicted =
              [this](const std::string& user, std::optional<Error> error) {
                commands_->evicted(user, std::move(error));
              },
          .on_empty = [this] { stop_gateway(); },
          .on_pair =
              [this](const PairChange& change) {
                events_.emit("pair", change.user, change.was_banned ? "banned" : "usable",
                             change.banned ? "banned" : "usable", change.generation,
                             "key " + change.key + ", node " + change.peer + ": " + change.reason);
              }});
  guard_memory();
  use_cgroups();
  scrape_ = std::make_unique<Scrape>(*this);
  exporter_ = std::make_unique<ExporterLink>(
      loop_, *tree_, random_,
      ExporterLink::Outlets{.not_ready = [this] { return ready() ? std::string() : not_ready(); },
                            .text = [this](Scrape::Done done) { scrape_->take(std::move(done)); }});
  commands_ = std::make_unique<Commands>(*this);
  if (auto started = tree_->start(); !started) {
    return started;
  }
  const auto handler = [this](std::shared_ptr<ControlRequest> request) {
    commands_->handle(std::move(request));
  };
  const auto welcome = [this](const ControlPeer& peer) { return commands_->welcomes(peer); };
  auto control = control_socket
                     ? ControlServer::adopt(loop_, std::move(*control_socket), handler, welcome, {})
                     : ControlServer::listen(loop_, config_.control_socket, handler, welcome, {});
  if (!control) {
    return std::unexpected(control.error());
  }
  control_ = std::move(*control);
  const auto beside =
      std::filesystem::path(config_.worker_program).replace_filename("cosigner-exporter");
  if (auto exporting = exporter_->start(config_.metrics.listen, beside.string()); !exporting) {
    return exporting;
  }
  gateway_->start();
  start_tick_timer();
  purge_timer_.start(1000, kPurgeEveryMs);
  if (std::uint64_t watchdog_us = 0; sd_watchdog_enabled(0, &watchdog_us) > 0) {
    watchdog_timer_.start(0, std::max<std::uint64_t>(1, watchdog_us / 2000));
  }
  spdlog::info("node {} of cluster {}: started, pid {}", config_.node, config_.cluster, ::getpid());
  return {};
}

void Node::start_tick_timer() {
  const std::uint64_t interval_ms = std::uint64_t{config_.workers.tick_s} * 1000;
  tick_timer_.start(interval_ms, interval_ms);
}

void Node::alive() {
  // From the loop itself: one that stands still says nothing, and systemd starts another.
  sd_notify(0, "WATCHDOG=1");
  changed();  // the number of workers in STATUS=
}

bool Node::ready() const {
  return control_ && gateway_->ready() && tree_->ready() && !stopping_;
}

std::vector<std::string> Node::degraded() const {
  std::vector<std::string> out;
  if (stopping_) {
    out.emplace_back("shutting down");
  }
  if (!tree_->ready()) {
    out.emplace_back(std::string("no zygote: ") + tree_->state());
  }
  if (!gateway_->ready()) {
    out.emplace_back(std::string("no gateway: ") + gateway_->state());
  } else if (!gateway_->broker_connected()) {
    out.emplace_back("the broker is away");
  }
  if (std::string missing = missing_workers(config_); !missing.empty()) {
    out.push_back(std::move(missing));
  }
  for (const ipc::Peer& peer : config_.peers) {
    if (gateway_->ready() && !gateway_->present().contains(peer.node)) {
      out.push_back("peer " + peer.node + " is absent");
    }
  }
  return out;
}

std::string Node::not_ready() const {
  std::string out = "not ready";
  for (const std::string& reason : degraded()) {
    out += "; " + reason;
  }
  return out;
}

void Node::changed() {
  if (!pool_ || !gateway_) {
    return;
  }
  // Not before the peers are known: whoever restarts nodes in turn stops the next one on READY, and
  // a request of that moment would find no quorum here.
  if (ready() && gateway_->knows_peers() && !announced_) {
    announced_ = true;
    spdlog::info("ready after {} ms", monotonic_ms() - started_at_ms_);
    sd_notify(0, "READY=1");
  }
  std::string status = ready() ? "serving" : "not ready";
  for (const std::string& reason : degraded()) {
    status += "; " + reason;
  }
  if (status != status_) {
    status_ = status;
    const std::string_view state = stopping_            ? "stopping"
                                   : !ready()           ? "not ready"
                                   : degraded().empty() ? "ready"
                                                        : "degraded";
    events_.emit("node", "", std::exchange(state_, state), state, 0, status);
  }
  const std::string shown = status + "; workers: " + std::to_string(pool_->registry().live());
  if (shown != shown_status_) {
    shown_status_ = shown;
    sd_notifyf(0, "STATUS=%s", shown.c_str());
  }
}

void Node::on_presence(const std::string& node, bool present) {
  ipc::Presence presence;
  presence.node = node;
  presence.present = present;
  pool_->broadcast(presence);
  changed();
}

void Node::use_cgroups() {
  std::string why;
  const auto unit = delegated_cgroup(why);
  if (!unit) {
    spdlog::info("workers have rlimits and no cgroups of their own: {}", why);
    return;
  }
  auto cgroups = WorkerCgroups::open(*unit, {.memory_bytes = config_.workers.memory_max_bytes});
  if (!cgroups) {
    spdlog::error("workers have rlimits and no cgroups of their own: {}", cgroups.error().message);
    return;
  }
  pool_->use_cgroups(std::move(*cgroups));
}

void Node::guard_memory() {
  memory_guard_ = std::make_unique<MemoryGuard>(
      loop_, memory_limits(config_.workers),
      MemoryGuard::Outlets{
          .idle = [this] { return pool_->registry().idle(); },
          .relieve = [this](std::size_t count) { return pool_->relieve(count); },
          .on_change =
              [this](bool is_short, const std::string& text) {
                spdlog::log(is_short ? spdlog::level::warn : spdlog::level::info, "{}", text);
                events_.emit("node", "", "", is_short ? "short of memory" : "enough memory", 0,
                             text);
              }});
  memory_guard_->start();
  if (const std::string blind = unwatched(read_host_memory(), memory_limits(config_.workers));
      !blind.empty()) {
    spdlog::warn("no idle worker goes for want of memory by {}", blind);
  }
}

void Node::purge() {
  store_->submit(
      StoreThread::Urgency::kBehind,
      [now = wall_ms()](Store& store) { return store.purge_results(now, kPurgeAtOnce); },
      [this](const Expected<std::uint64_t>& count) {
        if (!count) {
          spdlog::error("purging results: {}", count.error().message);
        } else if (*count == kPurgeAtOnce) {
          purge();  // more came in a minute than one turn removes
        }
      });
}

void Node::stop(std::function<void()> on_stopped) {
  if (stopping_) {
    return;
  }
  stopping_ = true;
  on_stopped_ = std::move(on_stopped);
  sd_notify(0, "STOPPING=1");
  spdlog::info("stopping: {} workers to drain", pool_->registry().live());
  changed();
  const std::int64_t deadline_ms = std::int64_t{config_.workers.stop_timeout_s} * 1000;
  stop_timer_.start(static_cast<std::uint64_t>(deadline_ms));
  pool_->drain(deadline_ms);
}

void Node::hurry() {
  if (stopping_ && !gateway_stopping_ && !std::exchange(hurried_, true)) {
    spdlog::warn("told to stop again: not waiting for the workers");
    stop_timer_.start(0);
    pool_->drain(0);
  }
}

void Node::stop_deadline() {
  // The registry kills the workers itself; a fork that nobody answers is this one's part.
  tree_->stop();
  if (!gateway_stopping_) {
    overdue_ = true;
    farewell_timer_.start(kFarewellMs);
  }
}

void Node::end_calls(std::function<void()> on_closed) {
  control_->stop({.code = ErrorCode::kShuttingDown,
                  .message = "This node shut down before the call was done.",
                  .may_have_executed = true,
                  .retryable = true},
                 std::move(on_closed));
}

void Node::stopped() {
  if (const auto done = std::exchange(on_stopped_, nullptr)) {
    done();
  }
}

void Node::stop_gateway() {
  // After the workers, whose last answers go out through it. It answers this node's own clients
  // too, so that their calls go on until it has gone.
  if (std::exchange(gateway_stopping_, true)) {
    return;
  }
  if (!overdue_) {
    farewell_timer_.start(kFarewellMs);
  }
  exporter_->stop();
  gateway_->stop(kGatewayFarewellMs);
}

}  // namespace cosigner::supervisor
