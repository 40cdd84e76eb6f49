#include "crypto/protocol/inbox.h"

#include <algorithm>
#include <cassert>
#include <string>

namespace cosigner {

Inbox::Inbox(ParticipantIndex self, std::span<const ParticipantIndex> peers, std::uint8_t rounds,
             std::size_t payload_limit)
    : self_(self), rounds_(rounds), payload_limit_(payload_limit) {
  for (const ParticipantIndex peer : peers) {
    if (peer != self) {
      peers_.push_back(peer);
    }
  }
  std::ranges::sort(peers_);
}

Result<bool> Inbox::accept(ParticipantIndex from, std::uint8_t round, ByteView payload) {
  const std::string round_name = "round " + std::to_string(round);
  if (from == self_) {
    return recoverable("a " + round_name + " message from ourselves");
  }
  if (!std::ranges::binary_search(peers_, from)) {
    return malformed(from, "a " + round_name + " message from outside the set");
  }
  if (round == 0 || round > rounds_) {
    return malformed(from, "a message for " + round_name + ", which does not exist");
  }
  if (payload.size() > payload_limit_) {
    return malformed(from, "the " + round_name + " message is too long");
  }
  const auto [position, is_new] = messages_.try_emplace({from, round});
  if (is_new) {
    position->second = to_vector(payload);
    return true;
  }
  if (!std::ranges::equal(position->second, payload)) {
    return blame(from, "two different messages for " + round_name);
  }
  return false;
}

void Inbox::restrict_to(std::span<const SetMember> set) {
  const auto outside = [set](ParticipantIndex index) {
    return std::ranges::find(set, index, &SetMember::index) == set.end();
  };
  std::erase_if(peers_, outside);
  std::erase_if(messages_, [&](const auto& entry) { return outside(entry.first.first); });
}

bool Inbox::complete(std::uint8_t round) const {
  return std::ranges::all_of(peers_, [&](ParticipantIndex peer) { return has(peer, round); });
}

bool Inbox::has(ParticipantIndex from, std::uint8_t round) const {
  return messages_.contains({from, round});
}

const ByteVector& Inbox::payload(ParticipantIndex from, std::uint8_t round) const {
  const auto found = messages_.find({from, round});
  assert(found != messages_.end());
  return found->second;
}

Result<void> check_set(std::span<const SetMember> set, ParticipantIndex self, ByteView own_hello,
                       std::span<const ParticipantIndex> allowed) {
  ParticipantIndex previous = 0;
  bool self_found = false;
  for (const SetMember& member : set) {
    if (member.index <= previous) {
      return recoverable("the set is not sorted, repeats an index or has index 0");
    }
    previous = member.index;
    if (!std::ranges::binary_search(allowed, member.index)) {
      return recoverable("the set names participant " + std::to_string(member.index) +
                         ", who has no part in this key");
    }
    if (member.index == self) {
      self_found = true;
      if (!std::ranges::equal(member.hello, own_hello)) {
        return recoverable("the set carries another hello of ours than we sent");
      }
    }
  }
  if (!self_found) {
    return recoverable("the set does not include us");
  }
  return {};
}

}  // namespace cosigner
