#pragma once
// Who is to hear of what nats.c calls back with. Its thread for callbacks may be late: it tells of
// errors even after it has told of the connection's end. So its closure is a number, which means
// nothing any more once the link is gone.

#include <cstdint>
#include <map>
#include <mutex>

#include "worker/nats/broker_link.h"

namespace cosigner::worker {

class LinkListeners {
 public:
  void* add(const LinkCallbacks& callbacks) {
    const std::lock_guard lock(mutex_);
    listeners_.emplace(++last_, &callbacks);
    return reinterpret_cast<void*>(last_);
  }
  /// Nobody is being called back afterwards.
  void remove(void* closure) {
    const std::lock_guard lock(mutex_);
    listeners_.erase(reinterpret_cast<std::uintptr_t>(closure));
  }
  template <class Call>
  void call(void* closure, Call&& call) {
    const std::lock_guard lock(mutex_);
    const auto found = listeners_.find(reinterpret_cast<std::uintptr_t>(closure));
    if (found != listeners_.end()) {
      call(*found->second);
    }
  }

 private:
  std::mutex mutex_;
  std::map<std::uintptr_t, const LinkCallbacks*> listeners_;
  std::uintptr_t last_ = 0;
};

/// Of all links of this process.
inline LinkListeners& link_listeners() {
  static LinkListeners all;
  return all;
}

}  // namespace cosigner::worker
