#pragma once
// Which requests' ids may be in the store although the index of results has dropped them. A "no" is
// certain and saves the way to the store; a "yes" costs that way, and once in 160 times for
// nothing.
//
// Bloom filters, 4 probes and 12 bits for each id: 4 KiB for the first 2,730, each further one four
// times as large, up to 1.1 MiB for 756,000 ids of one user. A filter goes as a whole when the
// store has forgotten the last of what is in it, a day after that request's expiry. Beyond the
// bound the newest filter takes what comes: more and more is then asked of the store, nothing is
// missed.

#include <cstdint>
#include <memory_resource>
#include <vector>

#include "ipc/request.h"

namespace cosigner::worker {

class ForgottenIds {
 public:
  static constexpr std::size_t kFirstBytes = 4U << 10;  ///< a page
  static constexpr std::size_t kLargestBytes = 256U << 10;
  static constexpr std::size_t kMaxFilters = 7;  ///< 4, 16, 64 and four times 256 KiB
  static constexpr std::size_t kBitsOfOne = 12;
  static constexpr unsigned kProbes = 4;

  explicit ForgottenIds(std::pmr::memory_resource& pages) : pages_(&pages) {}

  /// `keep_until_ms`: until when the store knows it.
  void add(const Ed25519PublicKey& initiator, const RequestId& id, std::uint64_t keep_until_ms);
  [[nodiscard]] bool may_hold(const Ed25519PublicKey& initiator, const RequestId& id) const;
  /// Drops the filters of which the store knows nothing any more.
  void forget_expired(std::uint64_t wall_ms);

 private:
  struct Filter {
    std::pmr::vector<std::uint8_t> bytes;  ///< as many as a power of two
    std::size_t ids = 0;
    std::uint64_t keep_until_ms = 0;  ///< of the last to go

    [[nodiscard]] bool full() const { return ids >= bytes.size() * 8 / kBitsOfOne; }
  };

  std::pmr::memory_resource* pages_;
  std::vector<Filter> filters_;  ///< oldest first
};

}  // namespace cosigner::worker
