#pragma once
// What happened on this node, for `events --follow`: the last thousand, and whoever listens.
// Whoever listens hears of everything; what happens with every request (ready to busy and back) is
// not kept, since it would push out what an operator looks for, and costs nothing while nobody
// listens.

#include <deque>
#include <functional>
#include <list>
#include <string>

#include "ipc/pack.h"
#include "supervisor/service/clock.h"

namespace cosigner::supervisor {

class Events {
 public:
  static constexpr std::size_t kKept = 1000;
  /// False: it listens no more.
  using Listener = std::function<bool(const ByteVector& event)>;
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
    for (auto listener = listeners_.begin(); listener != listeners_.end();) {
      listener = (*listener)(event) ? std::next(listener) : listeners_.erase(listener);
    }
    if (keep == Keep::kYes) {
      kept_.push_back(std::move(event));
      if (kept_.size() > kKept) {
        kept_.pop_front();
      }
    }
  }
  [[nodiscard]] const std::deque<ByteVector>& kept() const { return kept_; }
  void listen(Listener listener) { listeners_.push_back(std::move(listener)); }

 private:
  std::deque<ByteVector> kept_;
  std::list<Listener> listeners_;
};

}  // namespace cosigner::supervisor
