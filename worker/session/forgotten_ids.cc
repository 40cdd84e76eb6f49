#include "worker/session/forgotten_ids.h"

#include <algorithm>
#include <cstring>

namespace cosigner::worker {

namespace {

/// Ids should be random, but a client may as well count: every byte of one has its part in every
/// probe (the finalizer of splitmix64).
std::uint64_t mixed(std::uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

/// Where in a filter of `bits` (a power of two) the probes of this id are.
class Probes {
 public:
  Probes(const Ed25519PublicKey& initiator, const RequestId& id) {
    static_assert(RequestId::kSize == 16);
    std::uint64_t half = 0;
    std::memcpy(&half, id.data.data(), sizeof half);
    value_ = mixed(half + BytesHash{}(initiator));
    std::memcpy(&half, id.data.data() + sizeof half, sizeof half);
    value_ = mixed(value_ + half);
  }

  [[nodiscard]] std::size_t at(unsigned probe, std::size_t bits) const {
    const std::uint64_t step = (value_ >> 32) | 1;  // odd: no two probes of an id are the same bit
    return static_cast<std::size_t>((value_ + probe * step) & (bits - 1));
  }

 private:
  std::uint64_t value_ = 0;
};

std::uint8_t mask(std::size_t bit) {
  return static_cast<std::uint8_t>(1U << (bit % 8));
}

}  // namespace

void ForgottenIds::add(const Ed25519PublicKey& initiator, const RequestId& id,
                       std::uint64_t keep_until_ms) {
  if (filters_.empty() || (filters_.back().full() && filters_.size() < kMaxFilters)) {
    const std::size_t bytes =
        filters_.empty() ? kFirstBytes : std::min(filters_.back().bytes.size() * 4, kLargestBytes);
    filters_.push_back(Filter{std::pmr::vector<std::uint8_t>(bytes, pages_)});
  }
  Filter& newest = filters_.back();
  const Probes probes(initiator, id);
  for (unsigned probe = 0; probe < kProbes; ++probe) {
    const std::size_t bit = probes.at(probe, newest.bytes.size() * 8);
    newest.bytes[bit / 8] |= mask(bit);
  }
  ++newest.ids;
  newest.keep_until_ms = std::max(newest.keep_until_ms, keep_until_ms);
}

bool ForgottenIds::may_hold(const Ed25519PublicKey& initiator, const RequestId& id) const {
  const Probes probes(initiator, id);
  return std::ranges::any_of(filters_, [&](const Filter& filter) {
    for (unsigned probe = 0; probe < kProbes; ++probe) {
      const std::size_t bit = probes.at(probe, filter.bytes.size() * 8);
      if ((filter.bytes[bit / 8] & mask(bit)) == 0) {
        return false;
      }
    }
    return true;
  });
}

void ForgottenIds::forget_expired(std::uint64_t wall_ms) {
  std::erase_if(filters_, [&](const Filter& filter) { return filter.keep_until_ms < wall_ms; });
  if (filters_.empty()) {
    decltype(filters_)().swap(filters_);
  }
}

}  // namespace cosigner::worker
