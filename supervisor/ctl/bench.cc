#include "supervisor/ctl/bench.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>

#include "ipc/pack.h"

namespace cosigner::ctl {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Redraws one line on stderr, at most four times a second.
class Progress {
 public:
  Progress(bool enabled, std::string what) : enabled_(enabled), what_(std::move(what)) {}
  ~Progress() {
    if (drawn_) {
      std::fputs("\r\033[K", stderr);
    }
  }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::uint64_t done, std::uint64_t errors) {
    if (!enabled_ || Clock::now() < next_) {
      return;
    }
    next_ = Clock::now() + milliseconds(250);
    std::fprintf(stderr, "\r\033[K%s: %llu done, %llu errors, %.1f s", what_.c_str(),
                 static_cast<unsigned long long>(done), static_cast<unsigned long long>(errors),
                 seconds_since(begin_));
    std::fflush(stderr);
    drawn_ = true;
  }

 private:
  bool enabled_;
  bool drawn_ = false;
  std::string what_;
  Clock::time_point begin_ = Clock::now();
  Clock::time_point next_ = Clock::now() + milliseconds(250);
};

struct BenchUser {
  std::string name;
  std::optional<KeyView> key;
};

constexpr std::string_view kKeyName = "bench";

/// Users of their own for each run, so that runs do not meet.
std::vector<BenchUser> new_users(std::uint32_t count, Random& random) {
  std::array<std::uint8_t, 4> run{};
  random.fill(run);
  std::vector<BenchUser> users(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    users[i].name = "bench-" + to_hex(run) + "-" + std::to_string(i);
  }
  return users;
}

Outcome<PreparedRequest> keygen_request(const BenchContext& context, const BenchOptions& options,
                                        const std::string& user) {
  Request request = new_request(context.cluster, context.initiator, Operation::kKeygen,
                                options.keygen_timeout, context.random);
  request.user = user;
  request.key = kKeyName;
  request.scheme = options.scheme;
  request.threshold = options.threshold;
  for (const ipc::Peer& peer : context.cluster.nodes) {
    request.participants.push_back(peer.node);
  }
  return prepare(context.cluster, context.initiator, std::move(request), std::nullopt);
}

Outcome<PreparedRequest> sign_request_for(const BenchContext& context, const BenchOptions& options,
                                          const BenchUser& user) {
  Request request = new_request(context.cluster, context.initiator, Operation::kSign,
                                options.timeout, context.random);
  request.user = user.name;
  request.key = kKeyName;
  request.scheme = options.scheme;
  request.message.resize(32);
  context.random.fill(request.message);
  return prepare(context.cluster, context.initiator, std::move(request), user.key);
}

/// Keeps `concurrency` requests in flight until `count` were started, the time is over, or the user
/// interrupts; then waits for what is in flight.
struct Load {
  std::uint32_t concurrency = 1;
  std::uint64_t count = UINT64_MAX;
  Clock::time_point end = Clock::time_point::max();
  milliseconds timeout{0};
  std::function<Outcome<PreparedRequest>(std::uint64_t number)> make;
  std::function<void(Completion& completion)> done;  ///< the tag is the request's number
};

/// Fails when a request cannot be built or the connection is lost.
Outcome<void> run_load(const BenchContext& context, const Load& load) {
  Pipeline pipeline(context.node);
  std::uint64_t started = 0;
  bool stopping = false;
  for (;;) {
    stopping = stopping || context.interrupted || started >= load.count || Clock::now() >= load.end;
    while (!stopping && pipeline.in_flight() < load.concurrency && started < load.count) {
      auto request = load.make(started);
      if (!request) {
        return std::unexpected(request.error());
      }
      if (auto sent = pipeline.start(std::move(*request), started, load.timeout); !sent) {
        return std::unexpected(sent.error());
      }
      ++started;
    }
    if (pipeline.in_flight() == 0 || context.interrupted) {
      return {};
    }
    auto completion = pipeline.next(milliseconds(100));
    if (!completion) {
      return std::unexpected(completion.error());
    }
    if (*completion) {
      load.done(**completion);
    }
  }
}

KeyView key_view(const KeygenResult& result) {
  KeyView view;
  view.scheme = result.scheme;
  view.public_key = result.public_key;
  if (const auto record = decode_key_record(result.record)) {
    view.threshold = record->threshold;
    for (const auto& [index, node] : record->participants) {
      view.participants.push_back(node);
    }
  }
  return view;
}

/// Fails with the first error.
Outcome<void> make_keys(const BenchContext& context, const BenchOptions& options,
                        std::vector<BenchUser>& users) {
  Progress progress(options.progress, "making keys");
  std::optional<Failure> failure;
  std::uint64_t made = 0;
  const auto ran = run_load(
      context,
      {.concurrency = std::min<std::uint32_t>(16, options.users),
       .count = users.size(),
       .timeout = options.keygen_timeout,
       .make = [&](std::uint64_t i) { return keygen_request(context, options, users[i].name); },
       .done =
           [&](Completion& completion) {
             if (!completion.result) {
               failure = failure ? failure : completion.result.error();
               return;
             }
             const auto* result = std::get_if<KeygenResult>(&completion.result->answer.content);
             if (result != nullptr) {
               users[completion.tag].key = key_view(*result);
             }
             progress.show(++made, 0);
           }});
  if (!ran) {
    return ran;
  }
  if (failure) {
    failure->error.message = "making the keys: " + failure->error.message;
    return std::unexpected(*failure);
  }
  return {};
}

/// A load whose completions go into a report.
void measure(const BenchContext& context, BenchReport& report, Load load) {
  Progress progress(report.options.progress, report.what);
  load.concurrency = report.options.concurrency;
  const Clock::time_point begin = Clock::now();
  if (report.options.count) {
    load.count = *report.options.count;
  } else {
    load.end = begin + std::chrono::duration_cast<Clock::duration>(
                           std::chrono::duration<double>(report.options.duration_s.value_or(10)));
  }
  Clock::time_point last = begin;
  load.done = [&](Completion& completion) {
    last = Clock::now();
    if (completion.result) {
      report.latencies.add(completion.took);
    } else {
      ++report.errors[std::string(error_name(completion.result.error().error.code))];
    }
    progress.show(report.latencies.count(), report.error_count());
  };
  if (auto ran = run_load(context, load); !ran) {
    report.lost = ran.error();
  }
  report.seconds = std::chrono::duration<double>(last - begin).count();
  report.interrupted = context.interrupted;
}

Outcome<void> evict_everywhere(const std::vector<std::string>& sockets, const std::string& user) {
  for (const std::string& path : sockets) {
    auto node = ControlClient::connect(path);
    if (!node) {
      return std::unexpected(node.error());
    }
    const auto arguments = ipc::MapPacker().text("user", user).finish();
    // A node that was not asked may still be finishing the last signature (conflict), and once the
    // order is given the process is gone a moment later.
    const auto end = Clock::now() + std::chrono::seconds(10);
    for (;;) {
      const auto evicted = node->call("evict", arguments);
      if (!evicted && evicted.error().error.code != ErrorCode::kConflict &&
          evicted.error().error.code != ErrorCode::kUnknownUser) {
        return std::unexpected(evicted.error());
      }
      const auto body = node->call("user", arguments);
      const auto json = body ? parse_body(*body) : Outcome<Json>(Json());
      if (!json || !json->is_object() || json->value("state", "absent") == "absent") {
        break;
      }
      if (Clock::now() > end) {
        return failed(ExitStatus::kDeadline, ErrorCode::kPeerTimeout,
                      user + " was not evicted within 10 s at " + path + ".");
      }
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
  return {};
}

}  // namespace

Outcome<BenchReport> bench_sign(const BenchContext& context, const BenchOptions& options) {
  BenchReport report{.what = "sign", .options = options, .latencies = {}, .errors = {}, .lost = {}};
  std::vector<BenchUser> users = new_users(options.users, context.random);
  if (auto made = make_keys(context, options, users); !made) {
    return std::unexpected(made.error());
  }
  measure(context, report,
          {.timeout = options.timeout,
           .make =
               [&](std::uint64_t i) {
                 return sign_request_for(context, options, users[i % users.size()]);
               },
           .done = {}});
  return report;
}

Outcome<BenchReport> bench_keygen(const BenchContext& context, const BenchOptions& options) {
  BenchReport report{
      .what = "keygen", .options = options, .latencies = {}, .errors = {}, .lost = {}};
  const std::string prefix = new_users(1, context.random)[0].name + "-";
  measure(context, report,
          {.timeout = options.keygen_timeout,
           .make =
               [&](std::uint64_t i) {
                 return keygen_request(context, options, prefix + std::to_string(i));
               },
           .done = {}});
  return report;
}

Outcome<BenchReport> bench_first_signature(const BenchContext& context,
                                           const BenchOptions& options) {
  BenchReport report{
      .what = "first-signature", .options = options, .latencies = {}, .errors = {}, .lost = {}};
  std::vector<BenchUser> users = new_users(options.users, context.random);
  if (auto made = make_keys(context, options, users); !made) {
    return std::unexpected(made.error());
  }
  Progress progress(options.progress, report.what);
  const Clock::time_point begin = Clock::now();
  const std::uint64_t count = options.count.value_or(50);
  for (std::uint64_t i = 0; i < count && !context.interrupted; ++i) {
    const BenchUser& user = users[i % users.size()];
    if (auto evicted = evict_everywhere(options.evict_sockets, user.name); !evicted) {
      return std::unexpected(evicted.error());
    }
    auto request = sign_request_for(context, options, user);
    if (!request) {
      return std::unexpected(request.error());
    }
    const Clock::time_point started = Clock::now();
    const auto answered = run_request(context.node, std::move(*request), options.timeout);
    if (answered) {
      report.latencies.add(Clock::now() - started);
    } else if (answered.error().status == ExitStatus::kUnreachable) {
      report.lost = answered.error();
      break;
    } else {
      ++report.errors[std::string(error_name(answered.error().error.code))];
    }
    progress.show(report.latencies.count(), report.error_count());
  }
  report.seconds = seconds_since(begin);
  report.interrupted = context.interrupted;
  return report;
}

}  // namespace cosigner::ctl
