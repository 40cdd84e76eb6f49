#pragma once
// What the benches share: users of their own, requests, and a load that keeps some of them in
// flight.

#include <functional>

#include "supervisor/ctl/bench.h"

namespace cosigner::ctl {

using BenchClock = std::chrono::steady_clock;

/// Redraws one line on stderr, at most four times a second.
class Progress {
 public:
  Progress(bool enabled, std::string what) : enabled_(enabled), what_(std::move(what)) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::uint64_t done, std::uint64_t errors);

 private:
  bool enabled_;
  bool drawn_ = false;
  std::string what_;
  BenchClock::time_point begin_ = BenchClock::now();
  BenchClock::time_point next_ = BenchClock::now() + std::chrono::milliseconds(250);
};

struct BenchUser {
  std::string name;
  std::optional<KeyView> key;
};

inline constexpr std::string_view kBenchKey = "bench";

[[nodiscard]] double seconds_since(BenchClock::time_point begin);
/// Users of their own for each run, so that runs do not meet.
[[nodiscard]] std::vector<BenchUser> new_users(std::uint32_t count, Random& random);
[[nodiscard]] Outcome<PreparedRequest> keygen_request(const BenchContext& context,
                                                      const BenchOptions& options,
                                                      const std::string& user);
[[nodiscard]] Outcome<PreparedRequest> presign_request_for(const BenchContext& context,
                                                           const BenchUser& user,
                                                           std::uint32_t count);
[[nodiscard]] Outcome<PreparedRequest> sign_request_for(const BenchContext& context,
                                                        const BenchOptions& options,
                                                        const BenchUser& user);
/// Fails with the first error.
[[nodiscard]] Outcome<void> make_keys(const BenchContext& context, const BenchOptions& options,
                                      std::vector<BenchUser>& users);

/// Keeps `concurrency` requests in flight until `count` were started, the time is over, or the user
/// interrupts; then waits for what is in flight.
struct Load {
  static constexpr std::uint64_t kBeside = UINT64_MAX;  ///< tag of requests made by `beside`

  std::uint32_t concurrency = 1;
  std::uint64_t count = UINT64_MAX;
  BenchClock::time_point end = BenchClock::time_point::max();
  std::chrono::milliseconds timeout{0};
  std::function<Outcome<PreparedRequest>(std::uint64_t number)> make;
  std::function<void(Completion& completion)> done;  ///< the tag is the request's number
  /// One more request in flight beside them, of another kind, whenever there is one to make.
  std::function<Outcome<std::optional<PreparedRequest>>()> beside;
  std::chrono::milliseconds beside_timeout{70'000};
};

/// Fails when a request cannot be built or the connection is lost.
[[nodiscard]] Outcome<void> run_load(const BenchContext& context, const Load& load);
/// A load whose completions go into a report; `done` sees those of `beside`.
void measure(const BenchContext& context, BenchReport& report, Load load);

}  // namespace cosigner::ctl
