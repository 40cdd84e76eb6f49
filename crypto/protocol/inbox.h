#pragma once
// The early-message buffer that every protocol keeps: at most one message for each (sender, round),
// held until the protocol gets to that round and for comparison afterwards.

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/base/bytes.h"
#include "crypto/protocol/protocol.h"

namespace cosigner {

class Inbox {
 public:
  /// `peers`: everyone who may send before the set is known (`self` among them is passed over).
  /// Rounds 1 … `rounds` exist; a payload above `payload_limit` bytes is refused unread, so that
  /// what is held stays below peers × rounds × limit.
  Inbox(ParticipantIndex self, std::span<const ParticipantIndex> peers, std::uint8_t rounds,
        std::size_t payload_limit);

  /// Keeps a message. True: new. False: the same one again, to be ignored. Refuses unknown senders,
  /// the receiver itself, rounds that do not exist and oversized payloads (recoverable, naming the
  /// sender); blames a sender whose second message for a round differs from the first.
  [[nodiscard]] Result<bool> accept(ParticipantIndex from, std::uint8_t round, ByteView payload);

  /// From now on only members of `set` count; what others have sent so far is dropped.
  void restrict_to(std::span<const SetMember> set);

  /// Every peer's message of that round is here.
  [[nodiscard]] bool complete(std::uint8_t round) const;
  [[nodiscard]] bool has(ParticipantIndex from, std::uint8_t round) const;
  /// The message must be here.
  [[nodiscard]] const ByteVector& payload(ParticipantIndex from, std::uint8_t round) const;
  /// Sorted, without the receiver.
  [[nodiscard]] const std::vector<ParticipantIndex>& peers() const { return peers_; }
  [[nodiscard]] std::size_t payload_limit() const { return payload_limit_; }
  /// Forgets all messages.
  void clear() { messages_.clear(); }

 private:
  ParticipantIndex self_;
  std::vector<ParticipantIndex> peers_;
  std::uint8_t rounds_;
  std::size_t payload_limit_;
  std::map<std::pair<ParticipantIndex, std::uint8_t>, ByteVector> messages_;
};

/// What start() demands of every set: sorted by index without repeats, no index 0, `self` in it
/// with exactly the hello it gave out, everyone in `allowed` (sorted). Recoverable, for only the
/// coordinator can have put it together wrongly.
[[nodiscard]] Result<void> check_set(std::span<const SetMember> set, ParticipantIndex self,
                                     ByteView own_hello, std::span<const ParticipantIndex> allowed);

}  // namespace cosigner
