#pragma once
// `cosignerctl top`: what the node and its users did between two looks. Looking is one function;
// all arithmetic and drawing is pure.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "supervisor/ctl/control_client.h"
#include "supervisor/ctl/json.h"

namespace cosigner::ctl {

/// The reply to `users`, its parts put together.
[[nodiscard]] Outcome<Json> ask_users(ControlClient& node);

struct TopSample {
  std::chrono::steady_clock::time_point at;
  Json status;
  Json users;  ///< as ask_users() returns them
};
[[nodiscard]] Outcome<TopSample> take_sample(ControlClient& node);

/// {node, ready, interval_s, rates: {requests, answers, failed, overloaded, spawns, deaths,
/// evictions}, workers, memory_bytes, processor_percent, users: [{user, state, processor_percent,
/// memory_bytes, in_flight, queued, sessions, restarts, last_active_ms}, …]}: rates a second since
/// `before`, null in the first sample; users with a process or something that waits, sorted.
[[nodiscard]] Json top_snapshot(const std::optional<TopSample>& before, const TopSample& now,
                                std::string_view sort);

struct ScreenSize {
  std::size_t rows = 0;  ///< 0: no limit
  std::size_t columns = 0;
};
/// Waits with a connection that stays open: a node closes one that says nothing for a minute, so
/// that this one says something each `sign_of_life`. An error if the node goes meanwhile; ends
/// early when `interrupted`.
[[nodiscard]] Outcome<void> wait_connected(
    ControlClient& node, std::chrono::steady_clock::time_point end,
    const std::atomic<bool>& interrupted,
    std::chrono::milliseconds sign_of_life = std::chrono::seconds(30));

/// Lines of text, none wider or more than the screen holds.
[[nodiscard]] std::string top_text(const Json& snapshot, ScreenSize size);

}  // namespace cosigner::ctl
