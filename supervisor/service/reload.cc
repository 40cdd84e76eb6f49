// Reading the configuration again while the node runs (SIGHUP, `cosignerctl reload`).

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "ipc/joined.h"
#include "supervisor/config/config_diff.h"
#include "supervisor/config/cross_check.h"
#include "supervisor/config/host_check.h"
#include "supervisor/log/set_up.h"
#include "supervisor/service/commands.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {
namespace {

std::string or_nothing(const std::vector<std::string>& parts) {
  return parts.empty() ? "nothing" : joined(parts, "; ");
}

}  // namespace

std::expected<ConfigDifference, std::vector<ConfigProblem>> Node::reload() {
  // systemd takes the READY=1 that follows RELOADING=1 for the end of the reload (sd_notify(3)), so
  // a node that is not ready yet, or on its way out, says neither.
  const bool say = announced_ && !stopping_;
  if (say) {
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
               static_cast<unsigned long long>(uv_hrtime() / 1000));
  }
  auto difference = read_config_again();
  if (say) {
    sd_notify(0, "READY=1");
  }
  changed();
  return difference;
}

void Node::reload_on_signal() {
  const auto difference = reload();
  if (difference) {
    return;  // an event has said so
  }
  std::string reason = "reload: refused";
  for (const ConfigProblem& problem : difference.error()) {
    reason += "; " + problem.text();
  }
  events_.emit("node", "", state_, state_, 0, reason);
}

std::expected<ConfigDifference, std::vector<ConfigProblem>> Node::read_config_again() {
  // All that the next start would ask for: what it would refuse is refused now, while whoever wrote
  // it looks on.
  auto wanted = check_config(config_.path, nullptr, &config_);
  rlimit limit{};
  if (wanted && ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    // As at the start, where it was raised; whoever gives more descriptors starts the node again.
    if (auto fitted = fit_workers(*wanted, limit.rlim_cur); !fitted) {
      wanted = std::unexpected(std::vector{std::move(fitted.error())});
    }
  }
  if (!wanted) {
    for (const ConfigProblem& problem : wanted.error()) {
      spdlog::error("{}", problem.text());
    }
    spdlog::error("reload: the node goes on with the configuration it has");
    return std::unexpected(std::move(wanted.error()));
  }
  ConfigDifference difference = compare_configs(config_, *wanted);
  if (!difference.live.empty()) {
    config_ = with_live_changes(config_, *wanted);
    apply_config();
  }
  config_.workers_asked = wanted->workers_asked;  // it may change where the number itself cannot
  if (const std::string missing = missing_workers(config_); !missing.empty()) {
    spdlog::warn("reload: {}", missing);
  }
  spdlog::info("reload: applied: {}; needs a restart: {}", or_nothing(difference.live),
               or_nothing(difference.restart));
  events_.emit("node", "", state_, state_, 0, "reload: applied: " + or_nothing(difference.live));
  return difference;
}

void Node::apply_config() {
  set_up_logging(config_);
  ipc::Reconfigured change;
  change.peers = config_.peers;
  change.initiators = config_.initiators;
  change.settings = config_.sessions;
  store_->submit(
      StoreThread::Urgency::kNow,
      [peers = config_.peers](Store& store) -> Expected<void> {
        store.set_peers(peers);
        return {};
      },
      [](const Expected<void>&) {});
  // Workers before the gateway, which may report a new peer at once.
  pool_->reconfigure(change);
  gateway_->reconfigure(change);
  memory_guard_->set_limits(memory_limits(config_.workers));
  commands_->look_groups_up();
  start_tick_timer();
}

}  // namespace cosigner::supervisor
