#pragma once
// Client requests through a node's control socket, as many at once as wanted over one connection:
// submit, apply the client's rules to what the nodes answer, hand out each request as it settles.
// Nothing is retried.

#include <chrono>
#include <functional>
#include <map>

#include "supervisor/ctl/request_build.h"

namespace cosigner::ctl {

struct Answered {
  RequestAnswer answer;  ///< a success
  std::string by;        ///< the node it came from
};

struct Completion {
  std::uint64_t tag = 0;
  std::chrono::steady_clock::duration took{};
  /// Errors: kRefused with the cluster's typed error; kDeadline with what was heard until then.
  Outcome<Answered> result;
};

class Pipeline {
 public:
  using Clock = std::chrono::steady_clock;

  explicit Pipeline(ControlClient& node) : node_(node) {}

  /// `tag` comes back with the completion.
  [[nodiscard]] Outcome<void> start(PreparedRequest request, std::uint64_t tag,
                                    std::chrono::milliseconds timeout);
  /// The next request that settles; nothing after `wait`, or when a signal came. Fails only when
  /// the connection is lost: everything in flight is then lost with it.
  [[nodiscard]] Outcome<std::optional<Completion>> next(std::chrono::milliseconds wait);
  [[nodiscard]] std::size_t in_flight() const { return in_flight_.size(); }

 private:
  struct InFlight {
    std::uint64_t tag;
    ClientRules rules;
    Clock::time_point started;
    Clock::time_point deadline;
  };
  using Entry = std::map<std::uint64_t, InFlight>::iterator;
  Outcome<std::optional<Completion>> take(const ipc::ControlReply& reply);
  Outcome<std::optional<Completion>> expire();
  Outcome<std::optional<Completion>> finish(Entry entry, Outcome<Answered> result, bool cancel);

  ControlClient& node_;
  std::map<std::uint64_t, InFlight> in_flight_;  ///< by call
  Clock::time_point next_expiry_check_{};
};

/// One request to its end. `waiting` is called every second until then, with how long it has been.
[[nodiscard]] Outcome<Answered> run_request(
    ControlClient& node, PreparedRequest request, std::chrono::milliseconds timeout,
    const std::function<void(std::chrono::seconds)>& waiting = {});

}  // namespace cosigner::ctl
