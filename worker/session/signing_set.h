#pragma once
// Which t participants sign together when some pairs may not: a set in which every pair may.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "crypto/protocol/protocol.h"

namespace cosigner::worker {

/// Who of up to kMaxParticipants may sign with whom. Symmetric; nobody is asked about himself.
class Compatibility {
 public:
  explicit Compatibility(std::size_t members);
  void forbid(std::size_t a, std::size_t b);
  [[nodiscard]] bool allowed(std::size_t a, std::size_t b) const;
  [[nodiscard]] std::uint32_t partners(std::size_t member) const { return partners_[member]; }
  [[nodiscard]] std::size_t size() const { return partners_.size(); }

 private:
  std::vector<std::uint32_t> partners_;  ///< bit j of partners_[i]: i and j may sign together
};

/// The first set of `size` members, in lexical order of `preference`, in which every pair is
/// allowed; `first` is in it if given. Looks at 100,000 partial sets at most (a millisecond or
/// two): a peer that claims bans at random must not cost more.
[[nodiscard]] std::optional<std::vector<std::size_t>> choose_set(
    const Compatibility& compatibility, std::size_t size, std::span<const std::size_t> preference,
    std::optional<std::size_t> first = std::nullopt);

}  // namespace cosigner::worker
