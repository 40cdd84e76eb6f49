// Eviction under memory pressure: the same handshake as at the idle timeout, sooner.

#include "supervisor/registry/user.h"

namespace cosigner::supervisor {

std::size_t Registry::relieve(std::int64_t now, std::size_t count) {
  if (draining()) {
    return 0;  // everybody is going already
  }
  std::size_t asked = 0;
  // Who is asked leaves the list of the idle; whoever is busy is not in it.
  while (asked < count && !idle_.empty()) {
    ask_evict(now, users_->at(idle_.front()));
    ++asked;
  }
  counters_.asked_for_memory += asked;
  return asked;
}

}  // namespace cosigner::supervisor
