#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <functional>
#include <thread>

#include "ipc/pack.h"
#include "supervisor/ctl/bench_load.h"

namespace cosigner::ctl {
namespace {

using Clock = BenchClock;
using std::chrono::milliseconds;

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
  BenchReport report("sign", options);
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
           .done = {},
           .beside = {}});
  return report;
}

Outcome<BenchReport> bench_keygen(const BenchContext& context, const BenchOptions& options) {
  BenchReport report("keygen", options);
  const std::string prefix = new_users(1, context.random)[0].name + "-";
  measure(context, report,
          {.timeout = options.keygen_timeout,
           .make =
               [&](std::uint64_t i) {
                 return keygen_request(context, options, prefix + std::to_string(i));
               },
           .done = {},
           .beside = {}});
  return report;
}

Outcome<BenchReport> bench_first_signature(const BenchContext& context,
                                           const BenchOptions& options) {
  BenchReport report("first-signature", options);
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
      const Error& error = answered.error().error;
      ++report.errors[std::string(error_name(error.code))];
      report.may_have_executed = report.may_have_executed || error.may_have_executed;
    }
    progress.show(report.latencies.count(), report.error_count());
  }
  report.seconds = seconds_since(begin);
  report.interrupted = context.interrupted;
  return report;
}

}  // namespace cosigner::ctl
