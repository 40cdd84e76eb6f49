#pragma once
// What happened on this node, for `events --follow`: the last thousand, and whoever listens.

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

  /// {at_ms, what, user, from, to, generation, reason}
  void emit(std::string_view what, std::string_view user, std::string_view from,
            std::string_view to, std::uint64_t generation, std::string_view reason) {
    kept_.push_back(ipc::MapPacker()
                        .unsigned_integer("at_ms", wall_ms())
                        .text("what", what)
                        .text("user", user)
                        .text("from", from)
                        .text("to", to)
                        .unsigned_integer("generation", generation)
                        .text("reason", reason)
                        .finish());
    if (kept_.size() > kKept) {
      kept_.pop_front();
    }
    for (auto listener = listeners_.begin(); listener != listeners_.end();) {
      listener = (*listener)(kept_.back()) ? std::next(listener) : listeners_.erase(listener);
    }
  }
  [[nodiscard]] const std::deque<ByteVector>& kept() const { return kept_; }
  void listen(Listener listener) { listeners_.push_back(std::move(listener)); }

 private:
  std::deque<ByteVector> kept_;
  std::list<Listener> listeners_;
};

}  // namespace cosigner::supervisor
