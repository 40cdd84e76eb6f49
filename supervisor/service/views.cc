// The commands that look: status, users, keys.

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "ipc/key_record.h"
#include "ipc/names.h"
#include "ipc/pack.h"
#include "supervisor/process/resident_memory.h"
#include "supervisor/process/sandbox_view.h"
#include "supervisor/process/worker_cgroups.h"
#include "supervisor/service/commands.h"
#include "supervisor/service/node.h"

namespace cosigner::supervisor {
namespace {

/// Private memory (clean and dirty) of a process in bytes, from the kernel. A node without
/// privileges may not read that of its workers, which are not dumpable: there it is what their
/// cgroups are charged with, or, where they have none, what is resident (resident_memory.h).
/// Nothing if it is gone.
std::optional<std::uint64_t> private_memory(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/smaps_rollup");
  std::string line;
  std::uint64_t kilobytes = 0;
  bool found = false;
  while (std::getline(file, line)) {
    if (line.starts_with("Private_Clean:") || line.starts_with("Private_Dirty:")) {
      kilobytes += std::stoull(line.substr(line.find(':') + 1));
      found = true;
    }
  }
  if (found) {
    return kilobytes * 1024;
  }
  const auto charged = worker_cgroup_memory(pid);
  return charged ? charged : resident_memory(pid);
}

/// Processor time of a process, user and system, in milliseconds.
std::optional<std::uint64_t> processor_ms(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(file, line);
  const std::size_t name_end = line.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) {
    return std::nullopt;
  }
  std::istringstream fields(line.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) {  // proc(5): utime is field 14
    fields >> skipped;
  }
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  if (!(fields >> user >> system)) {
    return std::nullopt;
  }
  return (user + system) * 1000 / static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK));
}

/// What one process takes of the machine.
struct ProcessUse {
  std::optional<std::uint64_t> memory_bytes;
  std::optional<std::uint64_t> processor_ms;
};
ProcessUse use_of(pid_t pid) {
  return pid > 0 ? ProcessUse{private_memory(pid), processor_ms(pid)} : ProcessUse{};
}

/// Users in one part of the answer: 10,000 of them do not fit a frame.
constexpr std::size_t kUsersInPart = 500;

/// Reads /proc off the loop: one process takes about 0.1 ms, and there may be thousands.
struct UseJob {
  uv_work_t work{};
  std::vector<pid_t> pids;
  std::vector<ProcessUse> uses;
  std::function<void(const std::vector<ProcessUse>&)> done;

  static void run(uv_loop_t* loop, std::vector<pid_t> pids,
                  std::function<void(const std::vector<ProcessUse>&)> done) {
    auto* job = new UseJob;
    job->pids = std::move(pids);
    job->done = std::move(done);
    job->work.data = job;
    uv_queue_work(
        loop, &job->work,
        [](uv_work_t* work) {
          auto* self = static_cast<UseJob*>(work->data);
          for (const pid_t pid : self->pids) {
            self->uses.push_back(use_of(pid));
          }
        },
        [](uv_work_t* work, int) {
          const std::unique_ptr<UseJob> self(static_cast<UseJob*>(work->data));
          self->done(self->uses);
        });
  }
};

/// Null if there is nothing to measure.
void pack_measured(ipc::MapPacker& out, std::string_view name, std::optional<std::uint64_t> value) {
  if (value) {
    out.unsigned_integer(name, *value);
  } else {
    out.null(name);
  }
}

void pack_user(ipc::MapPacker& out, const UserView& view, const WorkerPool& pool,
               const ProcessUse& use) {
  const pid_t pid = view.generation == 0 ? 0 : pool.pid_of(view.generation);
  out.text("user", view.user)
      .text("state", user_state_name(view.state))
      .unsigned_integer("generation", view.generation)
      .unsigned_integer("pid", static_cast<std::uint64_t>(pid));
  pack_measured(out, "memory_bytes", use.memory_bytes);
  pack_measured(out, "processor_ms", use.processor_ms);
  out.unsigned_integer("last_active_ms", static_cast<std::uint64_t>(std::max<std::int64_t>(
                                             0, monotonic_ms() - view.last_active_ms)))
      .unsigned_integer("sessions", view.sessions)
      .unsigned_integer("in_flight", view.in_flight)
      .unsigned_integer("queued", view.queued)
      .unsigned_integer("restarts", view.deaths)
      .text("last_death", view.last_death);
}

}  // namespace

ByteVector Commands::pack_peers() const {
  ipc::ArrayPacker peers;
  const auto& present = node_.gateway().present();
  for (const ipc::Peer& peer : node_.config().peers) {
    peers.next().raw(ipc::MapPacker()
                         .text("node", peer.node)
                         .text("identity", to_hex(peer.identity))
                         .boolean("present", present.contains(peer.node))
                         .boolean("self", peer.node == node_.config().node)
                         .finish());
  }
  return peers.finish();
}

void Commands::status(const Request& request) {
  const Registry& registry = node_.pool().registry();
  const RegistryCounters& counts = registry.counters();
  ipc::ArrayPacker degraded;
  for (const std::string& reason : node_.degraded()) {
    degraded.next().text(reason);
  }
  ipc::MapPacker workers;
  for (std::size_t i = 0; i < kUserStates; ++i) {
    const auto state = static_cast<UserState>(i);
    workers.unsigned_integer(user_state_name(state), registry.in_state(state));
  }
  const auto process = [](const char* state, pid_t pid, std::uint64_t restarts) {
    return ipc::MapPacker()
        .text("state", state)
        .unsigned_integer("pid", static_cast<std::uint64_t>(pid))
        .unsigned_integer("restarts", restarts)
        .finish();
  };
  const GatewayLink& gateway = node_.gateway();
  const ProcessTree& tree = node_.tree();
  request->succeed(
      ipc::MapPacker()
          .text("node", node_.config().node)
          .text("cluster", node_.config().cluster)
          .text("version", COSIGNER_VERSION)
          .unsigned_integer("pid", static_cast<std::uint64_t>(::getpid()))
          .unsigned_integer("uptime_s", static_cast<std::uint64_t>(
                                            (monotonic_ms() - node_.started_at_ms()) / 1000))
          .boolean("ready", node_.ready())
          .raw("degraded", degraded.finish())
          .raw("broker", ipc::MapPacker()
                             .boolean("connected", gateway.broker_connected())
                             .text("url", node_.config().broker.url)
                             .text("detail", gateway.broker_detail())
                             .finish())
          .raw("gateway", process(gateway.state(), gateway.pid(), gateway.restarts()))
          .raw("zygote", process(tree.state(), tree.pid(), tree.restarts()))
          .raw("exporter", process(node_.exporter().state(), node_.exporter().pid(),
                                   node_.exporter().restarts()))
          .raw("workers", workers.finish())
          .raw("peers", pack_peers())
          .raw("counters", ipc::MapPacker()
                               .unsigned_integer("requests", counts.requests)
                               .unsigned_integer("answers", counts.answers)
                               .unsigned_integer("failed", counts.failed)
                               .unsigned_integer("overloaded", counts.overloaded)
                               .unsigned_integer("spawns", counts.spawns)
                               .unsigned_integer("deaths", counts.deaths)
                               .unsigned_integer("start_failures", counts.start_failures)
                               .unsigned_integer("unresponsive", counts.unresponsive)
                               .unsigned_integer("quarantines", counts.quarantines)
                               .unsigned_integer("evictions", counts.evictions)
                               .unsigned_integer("evictions_declined", counts.evictions_declined)
                               .unsigned_integer("asked_for_memory", counts.asked_for_memory)
                               .unsigned_integer("stray_inputs", counts.stray_inputs)
                               .unsigned_integer("stray_frames", node_.pool().stray_frames())
                               .unsigned_integer("ticks_dropped", node_.pool().ticks_dropped())
                               .unsigned_integer("checks", node_.pool().pair_counters().checks)
                               .unsigned_integer("strikes", node_.pool().pair_counters().strikes)
                               .unsigned_integer("bans", node_.pool().pair_counters().bans)
                               .unsigned_integer("bans_lifted", node_.pool().pair_counters().lifted)
                               .unsigned_integer("answers_lost", gateway.answers_lost())
                               .unsigned_integer("zygote_renewals", tree.renewals())
                               .finish())
          .finish());
}

void Commands::metrics(const Request& request) {
  node_.scrape().take([request](const std::string& text) {
    request->succeed(ipc::MapPacker().bytes("text", as_bytes(text)).finish());
  });
}

void Commands::self_check(const Request& request) {
  node_.self_check().run([request](const ByteVector& body) { request->succeed(body); });
}

void Commands::cluster(const Request& request) {
  ipc::ArrayPacker nodes;
  for (const ipc::Peer& peer : node_.config().peers) {
    nodes.next().raw(
        ipc::MapPacker().text("node", peer.node).bytes("identity", peer.identity).finish());
  }
  const ipc::Settings& sessions = node_.config().sessions;
  request->succeed(ipc::MapPacker()
                       .text("cluster", node_.config().cluster)
                       .text("node", node_.config().node)
                       .unsigned_integer("default_threshold", node_.config().default_threshold)
                       .raw("nodes", nodes.finish())
                       .unsigned_integer("sign_deadline_ms", sessions.sign_deadline_ms)
                       .unsigned_integer("keygen_deadline_ms", sessions.keygen_deadline_ms)
                       .unsigned_integer("max_envelope_bytes", sessions.max_envelope_bytes)
                       .finish());
}

void Commands::peers(const Request& request) {
  request->succeed(ipc::MapPacker().raw("peers", pack_peers()).finish());
}

void Commands::version(const Request& request) {
  request->succeed(ipc::MapPacker().text("version", COSIGNER_VERSION).finish());
}

void Commands::users(const Request& request) {
  auto views =
      std::make_shared<std::vector<UserView>>(node_.pool().registry().users(monotonic_ms()));
  std::vector<pid_t> pids;
  for (const UserView& view : *views) {
    pids.push_back(view.generation == 0 ? 0 : node_.pool().pid_of(view.generation));
  }
  UseJob::run(node_.loop(), std::move(pids),
              [this, alive = alive_, request, views](const std::vector<ProcessUse>& uses) {
                if (!*alive) {
                  return;
                }
                // Of many users the last come with the final reply, the others in parts before it.
                for (std::size_t begin = 0;; begin += kUsersInPart) {
                  const std::size_t end = std::min(begin + kUsersInPart, views->size());
                  ipc::ArrayPacker list;
                  for (std::size_t i = begin; i < end; ++i) {
                    ipc::MapPacker entry;
                    pack_user(entry, (*views)[i], node_.pool(), uses[i]);
                    list.next().raw(entry.finish());
                  }
                  ByteVector body = ipc::MapPacker().raw("users", list.finish()).finish();
                  if (end == views->size()) {
                    request->succeed(std::move(body));
                    return;
                  }
                  if (!request->part(std::move(body))) {
                    return;  // nobody reads it
                  }
                }
              });
}

void Commands::user(const Request& request, const std::string& name) {
  const auto view = node_.pool().registry().user(monotonic_ms(), name);
  if (!view) {
    request->fail({.code = ErrorCode::kUnknownUser,
                   .message = "No process of user '" + ipc::make_loggable(name) + "' runs here."});
    return;
  }
  const pid_t pid = view->generation == 0 ? 0 : node_.pool().pid_of(view->generation);
  ipc::MapPacker entry;
  pack_user(entry, *view, node_.pool(), use_of(pid));
  // What this user is called in hashed logs and in the broker's subjects.
  entry.text("token", user_subject_token(node_.config().cluster, name))
      .unsigned_integer("starts", view->starts)
      .unsigned_integer("start_failures", view->start_failures)
      .text("last_request", view->last_request)
      .text("last_crash", view->last_crash)
      .signed_integer("retry_in_ms", view->retry_in_ms)
      .unsigned_integer("threads", node_.pool().threads_of(view->generation))
      .unsigned_integer("checking", node_.pool().open_checks(view->generation));
  pack_measured(entry, "ready_after_us", node_.pool().ready_after_us(view->generation));
  std::uint64_t ready = 0;
  std::uint64_t held = 0;
  for (const auto& [key, stock] : node_.pool().presignatures_of(view->generation)) {
    ready += stock.ready;
    held += stock.held;
  }
  entry.unsigned_integer("presignatures_ready", ready).unsigned_integer("presignatures_held", held);
  if (pid > 0) {
    entry.raw("sandbox",
              pack_sandbox(measure_sandbox(pid), node_.pool().sandboxed(view->generation)));
  }
  request->succeed(entry.finish());
}

void Commands::keys(const Request& request, const std::string& name) {
  node_.store().submit(
      StoreThread::Urgency::kNow, [name](Store& store) { return store.keys_of(name); },
      [this, request, name](const Expected<std::vector<ipc::StoredKey>>& keys) {
        if (!keys) {
          request->fail(keys.error());
          return;
        }
        const auto view = node_.pool().registry().user(monotonic_ms(), name);
        const auto& stocks = node_.pool().presignatures_of(view ? view->generation : 0);
        ipc::ArrayPacker list;
        for (const ipc::StoredKey& key : *keys) {
          const auto stock = stocks.find(key.key);
          const bool stocked = stock != stocks.end() && stock->second.epoch == key.epoch;
          const auto record = decode_key_record(key.record);
          if (!record) {
            request->fail(record.error());
            return;
          }
          ipc::ArrayPacker participants;
          for (const auto& [index, node] : record->participants) {
            participants.next().text(node);
          }
          list.next().raw(
              ipc::MapPacker()
                  .text("key", key.key)
                  .text("scheme", scheme_name(record->scheme))
                  .unsigned_integer("epoch", key.epoch)
                  .text("state", key.state == ipc::KeyState::kActive ? "active" : "pending")
                  .unsigned_integer("threshold", record->threshold)
                  .raw("participants", participants.finish())
                  .text("public_key", to_hex(record->public_key))
                  .text("chain_code", to_hex(record->chain_code))
                  .text("session", to_hex(key.session))
                  .unsigned_integer("presignatures_ready", stocked ? stock->second.ready : 0)
                  .unsigned_integer("presignatures_held", stocked ? stock->second.held : 0)
                  .finish());
        }
        request->succeed(ipc::MapPacker().raw("keys", list.finish()).finish());
      });
}

}  // namespace cosigner::supervisor
