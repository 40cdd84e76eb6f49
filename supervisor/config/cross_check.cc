#include "supervisor/config/cross_check.h"

#include <initializer_list>

#include "ipc/frame.h"
#include "ipc/uv_stream.h"

namespace cosigner::supervisor {
namespace {

/// One late or lost sign of life must not be a death: a loop that is busy for a whole interval
/// shows itself after two.
constexpr std::uint64_t kSignsOfLife = 3;

/// A worker's mailbox is sent at once when it is ready, into a channel that takes so much beyond
/// the largest frame, which is its start order. More would count as "it does not read".
constexpr std::uint64_t kMailboxRoom =
    ipc::FrameChannel::Limits{}.max_queued_bytes - ipc::kMaxFrameBytes;
/// Of a request's frame, beside its envelope: names, ids, field names.
constexpr std::uint64_t kEntryBytes = 1024;

/// Here: a worker's socket, its pidfd and its crash pipe.
constexpr std::uint64_t kDescriptorsPerWorker = 3;
/// Store, sockets, control connections (256 at most), gateway, zygote, event loop.
constexpr std::uint64_t kOtherDescriptors = 384;

/// The first of these keys that the file sets: what it leaves out is a default, and not at fault.
toml::source_region place_of(const toml::table& document,
                             std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (const auto place = toml::at_path(document, key)) {
      return place.node()->source();
    }
  }
  return document.source();
}

}  // namespace

void check_together(const toml::table& document, const Config& config, Problems& problems) {
  const WorkerLimits& workers = config.workers;
  const ipc::Settings& sessions = config.sessions;
  const std::uint64_t silence_ms = std::uint64_t{workers.unresponsive_s} * 1000;
  const auto check_interval = [&](const char* key, std::uint64_t interval_ms, const char* who) {
    if (interval_ms * kSignsOfLife > silence_ms) {
      problems.add(place_of(document, {std::string("sessions.") + key, "workers.unresponsive_s"}),
                   "'sessions." + std::string(key) + "' is " + std::to_string(interval_ms) +
                       " ms, and " + who + " silent for " + std::to_string(silence_ms) +
                       " ms (workers.unresponsive_s) is killed",
                   "use at most " + std::to_string(silence_ms / kSignsOfLife) +
                       " ms, a third of it, or a higher workers.unresponsive_s");
    }
  };
  check_interval("presence_interval_ms", sessions.presence_interval_ms, "a gateway");
  check_interval("heartbeat_ms", sessions.heartbeat_ms, "a worker");
  const std::uint64_t mailbox =
      workers.mailbox_bytes + std::uint64_t{workers.mailbox_entries} * kEntryBytes;
  if (mailbox > kMailboxRoom) {
    problems.add(place_of(document, {"workers.mailbox_bytes", "workers.mailbox_entries"}),
                 "'workers.mailbox_bytes' and 1 KiB for each of 'workers.mailbox_entries' are " +
                     std::to_string(mailbox) + " bytes, more than a worker can be sent at once",
                 "use at most " + std::to_string(kMailboxRoom) + " for both together");
  }
}

std::uint64_t descriptors_needed(std::uint64_t workers) {
  return workers * kDescriptorsPerWorker + kOtherDescriptors;
}

namespace {

/// Somebody has written it down; otherwise it is the default.
bool names_max_workers(const Config& config) {
  const toml::parse_result parsed = toml::parse_file(config.path);
  return parsed && toml::at_path(parsed.table(), "workers.max_workers");
}

}  // namespace

std::expected<void, ConfigProblem> fit_workers(Config& config, rlim_t allowed) {
  config.workers_asked = 0;
  if (allowed == RLIM_INFINITY || allowed >= descriptors_needed(config.workers.max_workers)) {
    return {};
  }
  if (allowed < descriptors_needed(1)) {
    return std::unexpected(ConfigProblem{
        .file = config.path,
        .line = 0,
        .message = "a node with one worker needs " + std::to_string(descriptors_needed(1)) +
                   " descriptors, and this process may open " + std::to_string(allowed),
        .remedy = "raise LimitNOFILE= of the unit (ulimit -Hn)"});
  }
  if (names_max_workers(config)) {
    config.workers_asked = config.workers.max_workers;
  }
  config.workers.max_workers =
      static_cast<std::uint32_t>((allowed - kOtherDescriptors) / kDescriptorsPerWorker);
  return {};
}

std::string missing_workers(const Config& config) {
  return config.workers_asked == 0
             ? ""
             : "at most " + std::to_string(config.workers.max_workers) + " workers, not the " +
                   std::to_string(config.workers_asked) + " of workers.max_workers: they need " +
                   std::to_string(descriptors_needed(config.workers_asked)) +
                   " descriptors (LimitNOFILE=)";
}

}  // namespace cosigner::supervisor
