#include "worker/session/presignature_pool.h"

#include <algorithm>

namespace cosigner::worker {

bool has_member(const SigningSet& signers, std::string_view node) {
  return std::ranges::find(signers, node, &Signer::node) != signers.end();
}

// Chunks of 16 KiB at most: a few hundred bytes each, and an idle pool holds little more than it
// uses.
PresignaturePool::PresignaturePool(std::string self)
    : self_(std::move(self)),
      blocks_({.max_blocks_per_chunk = 32, .largest_required_pool_block = 1024}, &locked_) {}

void PresignaturePool::add(Entry entry) {
  const Digest id = entry.presignature.id();
  const SigningSet signers = entry.signers;
  const std::string owner = entry.owner;
  const std::uint64_t number = entry.number;
  if (!entries_.emplace(id, std::move(entry)).second) {
    return;
  }
  if (owner == self_) {
    own_[signers].push_back(id);
    own_numbers_.insert(number);
  } else {
    ++held_[owner];
  }
}

dkls23::Presignature PresignaturePool::extract(Entries::iterator entry) {
  const Entry& going = entry->second;
  if (going.owner == self_) {
    const auto stock = own_.find(going.signers);
    if (stock->second.front() == entry->first) {
      stock->second.pop_front();
    } else {
      std::erase(stock->second, entry->first);
    }
    if (stock->second.empty()) {
      own_.erase(stock);
    }
    own_numbers_.erase(going.number);
  } else if (const auto held = held_.find(going.owner); --held->second == 0) {
    held_.erase(held);
  }
  dkls23::Presignature out = std::move(entry->second.presignature);
  entries_.erase(entry);
  return out;
}

const SigningSet* PresignaturePool::best_set(
    const std::map<std::string, std::uint64_t, std::less<>>& present,
    const std::function<bool(const SigningSet&)>& usable) const {
  const SigningSet* best = nullptr;
  std::size_t most = 0;
  for (const auto& [signers, stock] : own_) {
    const bool complete = std::ranges::all_of(signers, [&](const Signer& signer) {
      const auto found = present.find(signer.node);
      return signer.node == self_ || (found != present.end() && found->second == signer.generation);
    });
    if (complete && stock.size() > most && (!usable || usable(signers))) {
      best = &signers;
      most = stock.size();
    }
  }
  return best;
}

std::optional<dkls23::Presignature> PresignaturePool::take_own(const SigningSet& signers) {
  const auto stock = own_.find(signers);
  if (stock == own_.end()) {
    return std::nullopt;
  }
  return extract(entries_.find(stock->second.front()));
}

std::optional<dkls23::Presignature> PresignaturePool::take_named(const Digest& id,
                                                                 std::string_view owner,
                                                                 const SigningSet& signers) {
  const auto entry = entries_.find(id);
  if (entry == entries_.end() || entry->second.owner != owner || entry->second.signers != signers) {
    return std::nullopt;
  }
  return extract(entry);
}

std::size_t PresignaturePool::own(const SigningSet& signers) const {
  const auto stock = own_.find(signers);
  return stock == own_.end() ? 0 : stock->second.size();
}

std::optional<std::uint64_t> PresignaturePool::lowest_own() const {
  return own_numbers_.empty() ? std::nullopt : std::optional(*own_numbers_.begin());
}

std::size_t PresignaturePool::held_for(std::string_view owner) const {
  const auto held = held_.find(owner);
  return held == held_.end() ? 0 : held->second;
}

template <class Predicate>
void PresignaturePool::drop_if(Predicate predicate) {
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto next = std::next(entry);
    if (predicate(entry->second)) {
      const dkls23::Presignature wiped = extract(entry);
    }
    entry = next;
  }
}

void PresignaturePool::drop_node(std::string_view node) {
  drop_if([&](const Entry& entry) { return has_member(entry.signers, node); });
}

void PresignaturePool::drop_named(const Digest& id, std::string_view owner) {
  const auto found = entries_.find(id);
  if (found != entries_.end() && found->second.owner == owner) {
    const dkls23::Presignature wiped = extract(found);
  }
}

void PresignaturePool::drop_run(const SessionId& run, std::string_view member) {
  drop_if(
      [&](const Entry& entry) { return entry.run == run && has_member(entry.signers, member); });
}

void PresignaturePool::drop_below(std::string_view owner, std::uint64_t floor,
                                  std::int64_t before_us) {
  drop_if([&](const Entry& entry) {
    return entry.owner == owner && entry.number < floor && entry.made_us < before_us;
  });
}

}  // namespace cosigner::worker
