#pragma once
// `cosignerctl bench`: measures a cluster the way a client sees it, through one node. It shares the
// machine with what it measures, so it does no more than a client must: build, sign, submit, judge.

#include <atomic>
#include <map>
#include <string>

#include "supervisor/ctl/json.h"
#include "supervisor/ctl/latency.h"
#include "supervisor/ctl/pipeline.h"

namespace cosigner::ctl {

struct BenchOptions {
  Scheme scheme = Scheme::kEd25519;
  std::uint32_t users = 1;
  std::uint32_t concurrency = 1;       ///< requests in flight
  std::optional<double> duration_s;    ///< one of duration and count
  std::optional<std::uint64_t> count;  ///< requests in all
  std::uint16_t threshold = 2;
  std::vector<std::string> evict_sockets;     ///< first-signature: all nodes' control sockets
  std::chrono::milliseconds timeout{20'000};  ///< of one signature
  std::chrono::milliseconds keygen_timeout{70'000};
  bool progress = false;   ///< a line on stderr, redrawn
  bool presigned = false;  ///< sign: with presignatures made before the measurement
  bool latencies = false;  ///< all of them as well as their quantiles, in JSON
};

/// What `bench sign --presigned` says beside its latencies.
struct PresignedReport {
  std::uint64_t filled = 0;  ///< presignatures made before the measurement
  double fill_seconds = 0;
  std::uint64_t sustained = 0;  ///< signatures while the pools are refilled by requests
  double sustained_seconds = 0;
  double sustained_p50_ms = 0;
  std::uint64_t refilled = 0;  ///< meanwhile
};

struct BenchReport {
  BenchReport(std::string bench, BenchOptions given)
      : what(std::move(bench)), options(std::move(given)) {}

  std::string what;  ///< "sign", "keygen", "first-signature"
  BenchOptions options;
  Latencies latencies;  ///< of successes
  Latencies starts;     ///< first-signature: of the evicted processes, order to ready
  std::map<std::string, std::uint64_t> errors;  ///< by name
  std::map<std::string, std::string> messages;  ///< of the first error of each name
  bool may_have_executed = false;               ///< one of the requests that failed
  double seconds = 0;                           ///< from the first request to the last answer
  bool interrupted = false;
  std::optional<PresignedReport> presigned;
  std::optional<Failure> lost;  ///< the connection broke: what is here is what was before

  /// Of one more request that failed.
  void add(const Error& error);
  [[nodiscard]] std::uint64_t error_count() const;
  /// Requests failed, or the connection was lost; named after the error that came most often. The
  /// report itself says so, as JSON like every other error.
  [[nodiscard]] std::optional<Failure> failure() const;
  [[nodiscard]] Json json() const;
  [[nodiscard]] std::string text() const;
};

/// What a bench works with.
struct BenchContext {
  ControlClient& node;
  const ClusterView& cluster;
  const IdentityKey& initiator;
  Random& random;
  const std::atomic<bool>& interrupted;  ///< set by SIGINT: stop and report
};

/// Makes a key for each of `users` new users, then keeps `concurrency` signatures of random 32-byte
/// messages in flight over them in turn. Every signature is verified. Fails if a key cannot be
/// made.
[[nodiscard]] Outcome<BenchReport> bench_sign(const BenchContext& context,
                                              const BenchOptions& options);
/// The same with presignatures: fills the users' pools by requests, measures `count` signatures
/// while nothing refills them but the nodes' own pools, and then as many again while requests for
/// presignatures run beside.
[[nodiscard]] Outcome<BenchReport> bench_sign_presigned(const BenchContext& context,
                                                        const BenchOptions& options);
/// Key generations, each for a new user.
[[nodiscard]] Outcome<BenchReport> bench_keygen(const BenchContext& context,
                                                const BenchOptions& options);
/// Evicts a user everywhere (`evict_sockets`), then times one signature; `count` times. After each
/// it asks the same nodes how long they took to start the user's process.
[[nodiscard]] Outcome<BenchReport> bench_first_signature(const BenchContext& context,
                                                         const BenchOptions& options);

}  // namespace cosigner::ctl
