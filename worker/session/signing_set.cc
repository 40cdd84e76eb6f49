#include "worker/session/signing_set.h"

namespace cosigner::worker {

namespace {

constexpr int kMaxSteps = 100'000;

class Search {
 public:
  Search(const Compatibility& compatibility, std::size_t size,
         std::span<const std::size_t> preference)
      : compatibility_(compatibility), size_(size), preference_(preference) {}

  /// Adds members from preference_[from] on; `open`: those who fit everyone chosen so far.
  bool extend(std::size_t from, std::uint32_t open) {
    if (chosen.size() == size_) {
      return true;
    }
    for (std::size_t i = from; i < preference_.size(); ++i) {
      if (chosen.size() + (preference_.size() - i) < size_ || ++steps_ > kMaxSteps) {
        return false;
      }
      const std::size_t member = preference_[i];
      if ((open >> member & 1U) == 0) {
        continue;
      }
      chosen.push_back(member);
      if (extend(i + 1, open & compatibility_.partners(member))) {
        return true;
      }
      chosen.pop_back();
    }
    return false;
  }

  std::vector<std::size_t> chosen;

 private:
  const Compatibility& compatibility_;
  std::size_t size_;
  std::span<const std::size_t> preference_;
  int steps_ = 0;
};

}  // namespace

Compatibility::Compatibility(std::size_t members)
    : partners_(members, members >= 32 ? ~std::uint32_t{0} : (std::uint32_t{1} << members) - 1) {
  static_assert(kMaxParticipants <= 32);
  for (std::size_t i = 0; i < members; ++i) {
    forbid(i, i);
  }
}

void Compatibility::forbid(std::size_t a, std::size_t b) {
  partners_[a] &= ~(std::uint32_t{1} << b);
  partners_[b] &= ~(std::uint32_t{1} << a);
}

bool Compatibility::allowed(std::size_t a, std::size_t b) const {
  return (partners_[a] >> b & 1U) != 0;
}

std::optional<std::vector<std::size_t>> choose_set(const Compatibility& compatibility,
                                                   std::size_t size,
                                                   std::span<const std::size_t> preference,
                                                   std::optional<std::size_t> first) {
  Search search(compatibility, size, preference);
  std::uint32_t open = ~std::uint32_t{0};
  if (first) {
    search.chosen.push_back(*first);
    open = compatibility.partners(*first);
  }
  if (!search.extend(0, open)) {
    return std::nullopt;
  }
  return std::move(search.chosen);
}

}  // namespace cosigner::worker
