#pragma once
// What the parts of one engine share: who this worker is, the time of this turn, randomness,
// settings, counters, and the list of effects.

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <vector>

#include "worker/session/counters.h"
#include "worker/session/early_bytes.h"
#include "worker/session/engine.h"
#include "worker/session/tally.h"

namespace cosigner::worker {

using ipc::LogLevel;

/// When the supervisor's store failed or did not answer, it is asked again after this long.
inline constexpr std::int64_t kRetryStoreUs = 1'000'000;
/// A peer that a commit or a renewal waits for is asked again after the first of these, then after
/// longer and longer, up to the second.
inline constexpr std::int64_t kFirstAskUs = 500'000;
inline constexpr std::int64_t kAskCapUs = 30'000'000;
/// A peer's worker that does not answer is woken again after this long.
inline constexpr std::int64_t kWakeAgainUs = 1'000'000;

struct Environment {
  std::string cluster;
  std::string node;
  std::string user;
  std::uint64_t generation = 0;
  ipc::Settings settings;
  Random& random;
  Now now;
  Counters counters;
  Tally tally;
  std::vector<Effect> effects;
  std::uint64_t last_packet = 0;
  std::uint64_t last_order = 0;
  std::uint64_t last_run = 0;
  /// Which session a hello packet was for, by packet number: the broker's 503 repeats the number.
  struct SentHello {
    std::uint64_t packet = 0;
    SessionId session;
  };
  std::array<SentHello, 256> sent_hellos{};
  /// Nodes of which the log has said that they speak no version of ours.
  std::set<std::string, std::less<>> other_version{};
  EarlyBytes early_bytes{};  ///< of rounds
  /// Moving averages of what a session takes here, from its first attempt to its result.
  std::int64_t average_sign_us = 0;

  [[nodiscard]] std::int64_t now_us() const { return now.monotonic_us; }
  [[nodiscard]] std::uint64_t wall_ms() const {
    return static_cast<std::uint64_t>(std::max<std::int64_t>(now.wall_ms, 0));
  }
  void log(LogLevel level, std::string message, const SessionId* session = nullptr) {
    effects.emplace_back(ipc::Log{.level = level,
                                  .message = std::move(message),
                                  .session = session == nullptr ? "" : to_hex(*session)});
  }
};

}  // namespace cosigner::worker
