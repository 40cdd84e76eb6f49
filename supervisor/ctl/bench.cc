#include <unistd.h>

#include <thread>

#include "ipc/pack.h"
#include "supervisor/ctl/bench_load.h"
#include "supervisor/ctl/json_part.h"

namespace cosigner::ctl {
namespace {

using Clock = BenchClock;
using std::chrono::milliseconds;

/// What the node says of this user; an empty object if it knows none of that name.
Outcome<Json> user_at(ControlClient& node, const ByteVector& user_argument) {
  const auto body = node.call("user", user_argument);
  if (!body) {
    return body.error().error.code == ErrorCode::kUnknownUser
               ? Outcome<Json>(Json::object())
               : Outcome<Json>(std::unexpected(body.error()));
  }
  return parse_body(*body);
}

/// Asks every node at `sockets` in turn until `reached` says that what it is asked for is so; fails
/// if that takes one of them longer than 10 s. `what`: "was not evicted".
Outcome<void> everywhere(
    const std::vector<std::string>& sockets, const std::string& user, std::string_view what,
    const std::function<Outcome<bool>(ControlClient& node, const ByteVector& argument)>& reached) {
  const ByteVector argument = ipc::MapPacker().text("user", user).finish();
  for (const std::string& path : sockets) {
    auto node = ControlClient::connect(path);
    if (!node) {
      return std::unexpected(node.error());
    }
    const auto end = Clock::now() + std::chrono::seconds(10);
    for (;;) {
      const auto so = reached(*node, argument);
      if (!so) {
        return std::unexpected(so.error());
      }
      if (*so) {
        break;
      }
      if (Clock::now() > end) {
        return failed(ExitStatus::kDeadline, ErrorCode::kPeerTimeout,
                      user + " " + std::string(what) + " within 10 s at " + path + ".");
      }
      std::this_thread::sleep_for(milliseconds(5));
    }
  }
  return {};
}

Outcome<void> evict_everywhere(const std::vector<std::string>& sockets, const std::string& user) {
  // A node that was not asked may still be finishing the last signature (conflict), and once the
  // order is given the process is gone a moment later.
  return everywhere(sockets, user, "was not evicted",
                    [](ControlClient& node, const ByteVector& argument) -> Outcome<bool> {
                      const auto evicted = node.call("evict", argument);
                      if (!evicted && evicted.error().error.code != ErrorCode::kConflict &&
                          evicted.error().error.code != ErrorCode::kUnknownUser) {
                        return std::unexpected(evicted.error());
                      }
                      const auto seen = user_at(node, argument);
                      if (!seen) {
                        return std::unexpected(seen.error());
                      }
                      const Json& state = part(*seen, "state");
                      return !state.is_string() || state == "absent";
                    });
}

/// How long each node took from the order to fork the user's process until that was ready. The
/// signature may be there before: it takes t nodes.
Outcome<void> add_starts(const std::vector<std::string>& sockets, const std::string& user,
                         Latencies& starts) {
  return everywhere(sockets, user, "was not served",
                    [&starts](ControlClient& node, const ByteVector& argument) -> Outcome<bool> {
                      const auto seen = user_at(node, argument);
                      if (!seen) {
                        return std::unexpected(seen.error());
                      }
                      const auto took = number(*seen, "ready_after_us");
                      if (took) {
                        starts.add(std::chrono::microseconds(*took));
                      }
                      // A release that does not measure it has the user, but no such field.
                      return took || (seen->contains("state") && !seen->contains("ready_after_us"));
                    });
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
      if (auto added = add_starts(options.evict_sockets, user.name, report.starts); !added) {
        return std::unexpected(added.error());
      }
    } else if (answered.error().status == ExitStatus::kUnreachable) {
      report.lost = answered.error();
      break;
    } else {
      report.add(answered.error().error);
    }
    progress.show(report.latencies.count(), report.error_count());
  }
  report.seconds = seconds_since(begin);
  report.interrupted = context.interrupted;
  return report;
}

}  // namespace cosigner::ctl
