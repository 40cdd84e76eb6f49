#include "supervisor/service/scrape.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

#include "supervisor/process/resident_memory.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {
namespace {

std::uint64_t count_descriptors() {
  std::error_code error;
  std::uint64_t count = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", error), end;
       !error && entry != end; entry.increment(error)) {
    ++count;
  }
  return count == 0 ? 0 : count - 1;  // the one that looked
}

/// Off the loop.
struct Lookup {
  uv_work_t work{};
  std::string database;
  std::map<std::string, std::vector<pid_t>> processes;  ///< by role
  std::shared_ptr<bool> alive;
  std::function<void(NodeMetrics::Sample)> done;
  NodeMetrics::Sample sample;

  void run() {
    for (const auto& [role, pids] : processes) {
      std::uint64_t& bytes = sample.memory_bytes[role];
      for (const pid_t pid : pids) {
        bytes += pid > 0 ? resident_memory(pid).value_or(0) : 0;
      }
    }
    for (const char* part : {"", "-wal"}) {  // what is new is in the log
      std::error_code error;
      const auto size = std::filesystem::file_size(database + part, error);
      sample.store_bytes += error ? 0 : size;
    }
    sample.open_fds = count_descriptors();
    rlimit limit{};
    sample.max_fds = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 0;
  }
};

}  // namespace

void Scrape::take(Done done) {
  if (!asking_.empty()) {
    next_.push_back(std::move(done));
    return;
  }
  asking_.push_back(std::move(done));
  begin();
}

void Scrape::begin() {
  node_.store().submit(
      StoreThread::Urgency::kNow, [](Store& store) { return store.count_bans(); },
      [this, alive = alive_](const Expected<std::uint64_t>& bans) {
        if (!*alive) {
          return;
        }
        look_up(bans.value_or(last_bans_));
      });
}

void Scrape::look_up(std::uint64_t bans) {
  last_bans_ = bans;
  auto* lookup = new Lookup;
  lookup->database = node_.config().state_directory + "/cosigner.db";
  lookup->processes = {{"supervisor", {::getpid()}},
                       {"zygote", {node_.tree().pid()}},
                       {"gateway", {node_.gateway().pid()}},
                       {"workers", node_.pool().pids()}};
  lookup->sample.bans = bans;
  lookup->alive = alive_;
  lookup->done = [this](NodeMetrics::Sample sample) { finish(std::move(sample)); };
  lookup->work.data = lookup;
  uv_queue_work(
      node_.loop(), &lookup->work, [](uv_work_t* work) { static_cast<Lookup*>(work->data)->run(); },
      [](uv_work_t* work, int) {
        const std::unique_ptr<Lookup> self(static_cast<Lookup*>(work->data));
        if (*self->alive) {
          self->done(std::move(self->sample));
        }
      });
}

void Scrape::finish(NodeMetrics::Sample sample) {
  const Registry& registry = node_.pool().registry();
  const GatewayLink& gateway = node_.gateway();
  sample.ready = node_.ready();
  sample.uptime_s = static_cast<double>(monotonic_ms() - node_.started_at_ms()) / 1000;
  for (std::size_t i = 0; i < kUserStates; ++i) {
    sample.users_in_state.push_back(registry.in_state(static_cast<UserState>(i)));
  }
  sample.workers_limit = node_.config().workers.max_workers;
  sample.registry = registry.counters();
  sample.mailbox_entries = registry.mailbox_entries();
  sample.mailbox_bytes = registry.mailbox_bytes();
  sample.mailbox_limit_bytes = node_.config().workers.total_mailbox_bytes;
  sample.ticks_dropped = node_.pool().ticks_dropped();
  sample.gateway_restarts = gateway.restarts();
  sample.zygote_deaths = node_.tree().restarts();
  sample.zygote_renewals = node_.tree().renewals();
  sample.broker_connected = gateway.broker_connected();
  sample.broker_reconnects = gateway.broker_reconnects();
  sample.present = gateway.present();
  sample.store_errors = node_.store().failures();
  sample.presignatures["ecdsa-secp256k1"] =
      node_.pool().presignatures();  // no other scheme has any
  const std::string text = node_.metrics().text(sample);
  const std::vector<Done> answered = std::exchange(asking_, std::exchange(next_, {}));
  if (!asking_.empty()) {
    begin();
  }
  for (const Done& done : answered) {
    done(text);
  }
}

}  // namespace cosigner::supervisor
