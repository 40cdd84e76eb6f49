#pragma once
// What happened on this node, for `events --follow`: the last thousand, and whoever listens.
// Whoever listens hears of everything; what happens with every request (ready to busy and back) is
// not kept, since it would push out what an operator looks for, and costs nothing while nobody
// listens.

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "ipc/pack.h"
#include "supervisor/service/clock.h"

namespace cosigner::supervisor {

class Events {
 public:
  static constexpr std::size_t kKept = 1000;
  /// Follow-up calls that nobody cancels must not grow without end.
  static constexpr std::size_t kMaxListeners = 64;
  /// False: it listens no more.
  using Listener = std::function<bool(const ByteVector& event)>;
  using Token = std::uint64_t;
  enum class Keep : std::uint8_t { kYes, kNo };

  /// {at_ms, what, user, from, to, generation, reason}
  void emit(std::string_view what, std::string_view user, std::string_view from,
            std::string_view to, std::uint64_t generation, std::string_view reason,
            Keep keep = Keep::kYes) {
    if (keep == Keep::kNo && listeners_.empty()) {
      return;
    }
    ByteVector event = ipc::MapPacker()
                           .unsigned_integer("at_ms", wall_ms())
                           .text("what", what)
                           .text("user", user)
                           .text("from", from)
                           .text("to", to)
                           .unsigned_integer("generation", generation)
                           .text("reason", reason)
                           .finish();
    // One that is told may stop listening, or make others stop: each is looked up again.
    for (auto next = listeners_.begin(); next != listeners_.end();) {
      const Token token = next->first;
      const Listener listener = next->second;
      if (!listener(event)) {
        listeners_.erase(token);
      }
      next = listeners_.upper_bound(token);
    }
    if (keep == Keep::kYes) {
      kept_.push_back(std::move(event));
      if (kept_.size() > kKept) {
        kept_.pop_front();
      }
    }
  }
  [[nodiscard]] const std::deque<ByteVector>& kept() const { return kept_; }
  /// Nothing if too many listen.
  [[nodiscard]] std::optional<Token> listen(Listener listener) {
    if (listeners_.size() >= kMaxListeners) {
      return std::nullopt;
    }
    listeners_.emplace(next_token_, std::move(listener));
    return next_token_++;
  }
  void unlisten(Token token) { listeners_.erase(token); }
  [[nodiscard]] std::size_t listeners() const { return listeners_.size(); }

 private:
  std::deque<ByteVector> kept_;
  std::map<Token, Listener> listeners_;
  Token next_token_ = 1;
};

}  // namespace cosigner::supervisor
