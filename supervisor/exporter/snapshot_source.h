#pragma once
// Asks the supervisor for its state and waits for it, for a bounded time. Answers are kept for a
// moment, so that however many ask over HTTP, the supervisor is asked four times a second at most.

#include <chrono>
#include <optional>

#include "ipc/frame.h"
#include "ipc/metrics_messages.h"
#include "ipc/unique_fd.h"

namespace cosigner::exporter {

class SnapshotSource {
 public:
  /// Longer, and the supervisor counts as hung.
  static constexpr std::chrono::milliseconds kPatience{2000};
  static constexpr std::chrono::milliseconds kFresh{250};

  explicit SnapshotSource(ipc::UniqueFd socket) : socket_(std::move(socket)) {}

  /// Nothing if no answer came in time. `with_text`: the metrics as well as readiness.
  [[nodiscard]] const ipc::MetricsSnapshot* get(bool with_text);
  /// The supervisor is gone: nothing will ever come again.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] int descriptor() const { return socket_.get(); }
  /// Reads what came unasked: its end, or late answers.
  void read_idle();

 private:
  using Clock = std::chrono::steady_clock;
  struct Kept {
    ipc::MetricsSnapshot snapshot;
    Clock::time_point at;
  };
  [[nodiscard]] bool send(bool with_text);
  /// False: the time is over.
  bool wait(Clock::time_point until);
  void read();

  ipc::UniqueFd socket_;
  ipc::FrameReader reader_;
  std::uint64_t last_ask_ = 0;
  std::uint64_t text_ask_ = 0;  ///< the last one that asked for text
  std::optional<Kept> state_;
  std::optional<Kept> text_;
  bool ended_ = false;
};

}  // namespace cosigner::exporter
