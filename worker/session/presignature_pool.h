#pragma once
// The presignatures of one epoch of one key in this worker's memory, and who may name which.
//
// A presignature serves one signing set, and in it one member, its owner, may name it: as the
// coordinator of an attempt. Two coordinators therefore never choose the same one. Whoever is asked
// for a presignature it does not hold, by another than the owner, or for another set or other
// workers than it was made with, refuses; it costs that presignature and nothing else.
//
// Taking is moving out: nothing here puts one back, writes one down or copies one. All of them are
// in locked memory, wiped when they go, and gone with the process.

#include <deque>
#include <functional>
#include <map>
#include <memory_resource>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/locked_memory.h"
#include "crypto/dkls23/ecdsa.h"

namespace cosigner::worker {

/// A member of a signing set: the worker of one generation on one node.
struct Signer {
  ParticipantIndex index = 0;
  std::string node;
  std::uint64_t generation = 0;
  friend auto operator<=>(const Signer&, const Signer&) = default;
};
/// Exactly t, sorted by index.
using SigningSet = std::vector<Signer>;
[[nodiscard]] bool has_member(const SigningSet& signers, std::string_view node);

class PresignaturePool {
 public:
  struct Entry {
    SessionId run;  ///< the run that made it
    SigningSet signers;
    std::string owner;
    std::uint64_t number = 0;  ///< counted by the owner
    std::int64_t made_us = 0;
    dkls23::Presignature presignature;
  };

  explicit PresignaturePool(std::string self);

  void add(Entry entry);

  /// Of this node as owner: the set with most in stock among those whose members are all in
  /// `present` (node → generation; this node need not be listed), and for which `usable` holds.
  /// Null if there is none.
  [[nodiscard]] const SigningSet* best_set(
      const std::map<std::string, std::uint64_t, std::less<>>& present,
      const std::function<bool(const SigningSet&)>& usable = {}) const;
  /// The oldest that this node may name for exactly this set.
  [[nodiscard]] std::optional<dkls23::Presignature> take_own(const SigningSet& signers);
  /// The one that `owner` has named for exactly this set.
  [[nodiscard]] std::optional<dkls23::Presignature> take_named(const Digest& id,
                                                               std::string_view owner,
                                                               const SigningSet& signers);

  [[nodiscard]] std::size_t own() const { return own_numbers_.size(); }
  [[nodiscard]] std::size_t own(const SigningSet& signers) const;
  [[nodiscard]] std::size_t held_for(std::string_view owner) const;
  /// The lowest number of this node's own.
  [[nodiscard]] std::optional<std::uint64_t> lowest_own() const;
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

  /// Everything made with any worker of this node.
  void drop_node(std::string_view node);
  /// Its owner has named it in vain.
  void drop_named(const Digest& id, std::string_view owner);
  /// `member` of its set has given it up.
  void drop_run(const SessionId& run, std::string_view member);
  /// What an owner will not name any more: numbered below `floor` and made before `before_us` (a
  /// start that names one may still be under way).
  void drop_below(std::string_view owner, std::uint64_t floor, std::int64_t before_us);

 private:
  using Entries = std::pmr::map<Digest, Entry>;
  template <class Predicate>
  void drop_if(Predicate predicate);
  [[nodiscard]] dkls23::Presignature extract(Entries::iterator entry);

  std::string self_;
  LockedMemory locked_;
  std::pmr::unsynchronized_pool_resource blocks_;
  Entries entries_{&blocks_};
  std::map<SigningSet, std::deque<Digest>> own_;  ///< oldest first
  std::set<std::uint64_t> own_numbers_;
  std::map<std::string, std::size_t, std::less<>> held_;  ///< by owner, other nodes
};

}  // namespace cosigner::worker
