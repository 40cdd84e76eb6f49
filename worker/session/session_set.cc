// Who may sign with whom, and the set that the coordinator picks. See session.h, signing_set.h.

#include <algorithm>
#include <tuple>

#include "worker/session/session.h"

namespace cosigner::worker {

/// What two hellos say of each other: they have a version in common, neither bans the other, and
/// both hold the same OT state. Ranges of which every two meet have a version in common all
/// together, so a set in which every pair fits has one.
bool Session::fits(const Hello& a, const Hello& b) const {
  if (!a.versions().meets(b.versions())) {
    return false;
  }
  if (everyone()) {
    return true;
  }
  if (std::ranges::find(a.banned, b.node) != a.banned.end() ||
      std::ranges::find(b.banned, a.node) != b.banned.end()) {
    return false;
  }
  if (request_.scheme != Scheme::kEcdsaSecp256k1) {
    return true;
  }
  const auto with_b = std::ranges::find(a.pairs, index_of(b.node), &PairOffer::peer);
  const auto with_a = std::ranges::find(b.pairs, index_of(a.node), &PairOffer::peer);
  return with_b != a.pairs.end() && with_a != b.pairs.end() && with_b->id == with_a->id;
}

bool Session::any_pair_fits() const {
  return (everyone() || request_.scheme != Scheme::kEcdsaSecp256k1) &&
         std::ranges::all_of(hellos_, [this](const auto& entry) {
           return entry.second.decoded.versions() == parts_.protocols.versions();
         });
}

const Hello* Session::said_by(const std::string& node) const {
  if (node == environment_.node) {
    return attempt_.own.node.empty() ? nullptr : &attempt_.own;
  }
  const auto slot = hellos_.find(node);
  return slot == hellos_.end() ? nullptr : &slot->second.decoded;
}

Compatibility Session::compatibility() {
  Compatibility out(participants_.size());
  if (any_pair_fits()) {
    return out;
  }
  // What a hello claims keeps people apart only if its sender has signed it.
  const auto vouched = [&](const std::string& node) {
    return node == environment_.node || verify_slot(node, hellos_.find(node)->second);
  };
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    const std::string& node = participants_[i].node;
    for (std::size_t j = 0; j < i; ++j) {
      const std::string& other = participants_[j].node;
      const Hello* a = said_by(node);
      const Hello* b = said_by(other);
      const bool banned_here =
          (node == environment_.node && parts_.pairs.banned(request_.key, other)) ||
          (other == environment_.node && parts_.pairs.banned(request_.key, node));
      if (banned_here ||
          (a != nullptr && b != nullptr && !fits(*a, *b) && vouched(node) && vouched(other))) {
        out.forbid(i, j);
      }
    }
  }
  return out;
}

bool Session::in_some_set(const std::string& node) {
  const Compatibility pairs = compatibility();
  std::vector<std::size_t> others;
  std::size_t self = 0;
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    const std::string& one = participants_[i].node;
    if (one == node) {
      self = i;
    } else if (!misbehaved_.contains(one)) {
      others.push_back(i);
    }
  }
  return choose_set(pairs, needed(), others, self).has_value();
}

Error Session::apart(const std::string& a, const std::string& b, bool absence) const {
  Error error{.code = ErrorCode::kBanned,
              .message = "nodes " + a + " and " + b + " may not sign together with key " +
                         request_.key + " before their OT state is renewed",
              .may_have_executed = executed_,
              .retryable = absence,
              .peer = b,
              .peer_reason = "banned, or without common OT state, from signing with " + a};
  const Hello* one = said_by(a);
  const Hello* other = said_by(b);
  if (one != nullptr && other != nullptr && !one->versions().meets(other->versions())) {
    error.code = ErrorCode::kUnsupportedVersion;
    error.message = "node " + a + " speaks versions " + one->versions().text() +
                    " of the session protocol, node " + b + " " + other->versions().text();
    error.peer_reason = error.message;
  }
  if (absence) {
    error.message += ", and the others are not all there";
  }
  return error;
}

std::optional<Error> Session::no_set() {
  const Compatibility pairs = compatibility();
  std::vector<std::size_t> there;
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < participants_.size(); ++i) {
    const std::string& node = participants_[i].node;
    if (!misbehaved_.contains(node)) {
      all.push_back(i);
      if (!declined_.contains(node) && peers_.present(node)) {
        there.push_back(i);
      }
    }
  }
  if (choose_set(pairs, needed(), there)) {
    return std::nullopt;
  }
  for (const std::size_t i : all) {
    for (const std::size_t j : all) {
      if (i < j && !pairs.allowed(i, j)) {
        const bool first_is_self = participants_[i].node == environment_.node;
        const std::string& a = participants_[first_is_self ? i : j].node;
        const std::string& b = participants_[first_is_self ? j : i].node;
        return apart(a, b, choose_set(pairs, needed(), all).has_value());
      }
    }
  }
  return std::nullopt;
}

bool Session::try_presigned() {
  const KeyEpoch* key = everyone() ? nullptr : parts_.keys.find(request_.key);
  if (key == nullptr || no_presignature_ || key->digest != record_digest_) {
    return false;
  }
  Presigner::Offers offers;
  Presigner::Offers possible;
  for (const Participant& participant : participants_) {
    const Certificate* certificate = peers_.certificate(participant.node);
    const auto slot = hellos_.find(participant.node);
    const bool here = slot != hellos_.end() && slot->second.decoded.attempt == attempt_.number;
    if (here && slot->second.decoded.presignatures > 0 && !doubtful(participant.node) &&
        fits(attempt_.own, slot->second.decoded)) {
      offers.emplace(participant.node, slot->second.decoded.generation);
    } else if (!here && certificate != nullptr && peers_.present(participant.node) &&
               !doubtful(participant.node) &&
               !parts_.pairs.banned(request_.key, participant.node)) {
      possible.emplace(participant.node, certificate->generation);
    }
  }
  // Two members of a set that may not sign together: if both have signed what says so.
  const auto together = [&](const SigningSet& set) {
    for (const Signer& a : set) {
      for (const Signer& b : set) {
        if (a.index >= b.index || a.node == environment_.node || b.node == environment_.node) {
          continue;
        }
        HelloSlot& one = hellos_.find(a.node)->second;
        HelloSlot& other = hellos_.find(b.node)->second;
        if (!fits(one.decoded, other.decoded) && verify_slot(a.node, one) &&
            verify_slot(b.node, other)) {
          return false;
        }
      }
    }
    return true;
  };
  while (const SigningSet* best = parts_.presigner.best_set(*key, offers, together)) {
    std::vector<std::string> chosen;
    bool genuine = true;
    for (const Signer& signer : *best) {
      if (signer.node == environment_.node) {
        continue;
      }
      const auto slot = hellos_.find(signer.node);
      if (!verify_slot(signer.node, slot->second)) {
        ++environment_.counters.hellos_refused;
        hellos_.erase(slot);
        offers.erase(signer.node);
        genuine = false;
        break;
      }
      chosen.push_back(signer.node);
    }
    if (genuine) {
      coordinate(chosen, parts_.presigner.take_own(*key, *best));
      return true;
    }
  }
  if (environment_.now_us() < attempt_.entered_us + kPatienceUs) {
    possible.insert(offers.begin(), offers.end());
    if (parts_.presigner.best_set(*key, possible) != nullptr) {
      attempt_.patience_us = attempt_.entered_us + kPatienceUs;
      return true;
    }
  }
  return false;
}

void Session::try_start() {
  if (try_presigned()) {
    return;
  }
  // First come, first taken; those of whom there is something to be said only if the others do not
  // suffice, and not in the first moments (kWakeAfterUs).
  const bool early = environment_.now_us() < attempt_.entered_us + kWakeAfterUs;
  while (true) {
    std::vector<std::pair<std::tuple<bool, std::size_t, std::uint64_t>, std::size_t>> candidates;
    std::size_t self = 0;
    for (std::size_t i = 0; i < participants_.size(); ++i) {
      const auto slot = hellos_.find(participants_[i].node);
      if (participants_[i].index == self_) {
        self = i;
      } else if (slot != hellos_.end() && slot->second.decoded.attempt == attempt_.number &&
                 !(early && doubtful(slot->first))) {
        candidates.push_back(
            {{doubtful(slot->first), failures_with(slot->first), slot->second.arrival}, i});
      }
    }
    if (candidates.size() + 1 < needed()) {
      return;
    }
    std::ranges::sort(candidates);
    std::vector<std::size_t> preference;
    preference.reserve(candidates.size());
    for (const auto& [rank, place] : candidates) {
      preference.push_back(place);
    }
    const auto set = choose_set(compatibility(), needed(), preference, self);
    if (!set) {
      return;
    }
    std::vector<std::string> chosen;
    for (const std::size_t place : *set) {
      const std::string& node = participants_[place].node;
      if (place == self) {
        continue;
      }
      if (verify_slot(node, hellos_.find(node)->second)) {
        chosen.push_back(node);
      } else {
        // Not its fault for certain: hellos come in clear, and the broker may have made this one.
        ++environment_.counters.hellos_refused;
        hellos_.erase(node);
      }
    }
    if (chosen.size() + 1 == needed()) {
      coordinate(chosen);
      return;
    }
  }
}

void Session::give_up_if_apart() {
  if (any_pair_fits()) {
    return;
  }
  if (std::optional<Error> error = no_set()) {
    announce_end("no set of signers in which every pair may sign together", {});
    fail(*std::move(error));
  } else if (!in_some_set(environment_.node)) {
    end_attempt("its coordinator may not sign with enough others");
  }
}

std::size_t Session::failures_with(const std::string& node) const {
  const auto found = failed_with_.find(node);
  return found == failed_with_.end() ? 0 : found->second;
}

bool Session::doubtful(const std::string& node) const {
  return participants_.size() > needed() &&
         (failed_with_.contains(node) || reported_.contains(node) || peers_.distrusted(node) ||
          peers_.suspect(node));
}

}  // namespace cosigner::worker
