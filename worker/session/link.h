#pragma once
// Delivery to one generation of one peer's worker: a channel, sequence numbers, acknowledgements
// that ride along, retransmission of the same ciphertext, and a window that knows what was
// received before. Pure: packets come out of flush() and on_timer(), time goes in.
//
// A packet that holds at least one reliable message is acknowledged by the receiver, with the next
// packet that goes its way or alone after 20 ms, and sent again until then: after 100 ms, doubling
// to 1 s, with ±20 % jitter, ten times in all (6 to 8 s).

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "crypto/channel/channel.h"
#include "ipc/message_parts.h"
#include "worker/session/counters.h"
#include "worker/session/packet.h"

namespace cosigner::worker {

/// A small fast generator for jitter only; secrets and nonces never come from it.
class Jitter {
 public:
  explicit Jitter(std::uint64_t seed) : state_(seed | 1U) {}
  /// `value` ± 20 %.
  [[nodiscard]] std::int64_t spread(std::int64_t value) {
    state_ ^= state_ << 13U;
    state_ ^= state_ >> 7U;
    state_ ^= state_ << 17U;
    return value * static_cast<std::int64_t>(800 + state_ % 401) / 1000;
  }

 private:
  std::uint64_t state_;
};

/// The sequence numbers that have been received, exactly: the highest, and the gaps below it.
/// Packets without acknowledgement leave gaps for good when they are lost, so old gaps are
/// forgotten (as received: nothing is accepted twice, at the price of a very late one).
class ReceivedWindow {
 public:
  /// True the first time.
  [[nodiscard]] bool accept(std::uint64_t sequence);

  static constexpr std::size_t kMaxGaps = 1024;

 private:
  std::uint64_t next_ = 0;                       ///< everything from here on is new
  std::map<std::uint64_t, std::uint64_t> gaps_;  ///< first → last (inclusive), below next_
};

class Link {
 public:
  /// Bounds of what waits for acknowledgement by this peer.
  static constexpr std::size_t kMaxUnacknowledged = 2048;
  static constexpr std::size_t kMaxUnacknowledgedBytes = 32U << 20;
  static constexpr std::int64_t kAckDelayUs = 20'000;
  /// Messages of one turn are joined up to this size; a larger message has a packet of its own.
  static constexpr std::size_t kJoinBytes = 256U << 10;

  Link(Channel channel, const ipc::Settings& settings, std::uint64_t own_generation);

  /// `message` as encode_message() made it. False: the queue is full, nothing was queued.
  [[nodiscard]] bool queue(ByteVector message, bool reliable);

  /// Seals what is queued. `certificate` goes along until the peer has acknowledged something.
  void flush(std::int64_t now_us, ByteView certificate, Jitter& jitter,
             std::vector<ByteVector>& packets);

  /// The plaintext of a packet that this peer sealed for us.
  [[nodiscard]] std::optional<SecretVector> open(const SealedPacket& packet) const {
    return channel_.open(packet.sequence, packet.associated, packet.ciphertext);
  }
  /// Bookkeeping of an opened packet. False if it was received before: its messages are not to be
  /// looked at again, but it is acknowledged again, since the first acknowledgement may be lost.
  [[nodiscard]] bool received(std::int64_t now_us, std::uint64_t sequence,
                              const PacketContents& contents);

  /// Retransmits what is due. Returns how many packets were given up.
  std::size_t on_timer(std::int64_t now_us, Jitter& jitter, Counters& counters,
                       std::vector<ByteVector>& packets);
  /// Monotonic microseconds; nothing when nothing waits.
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;

  /// The own certificate was renewed: send it along again.
  void certificate_changed() { peer_knows_certificate_ = false; }

  [[nodiscard]] std::uint64_t generation() const { return channel_.peer_generation(); }
  [[nodiscard]] bool wants_flush() const { return !reliable_.empty() || !unreliable_.empty(); }
  [[nodiscard]] bool quiet() const {
    return !wants_flush() && unacknowledged_.empty() && acks_.empty();
  }

 private:
  struct InFlight {
    ByteVector packet;
    std::uint32_t sent = 1;
    std::int64_t due_us = 0;
    std::int64_t interval_us = 0;
  };
  void seal(std::int64_t now_us, ByteView certificate, Jitter& jitter,
            const std::vector<ByteVector>& messages, bool reliable,
            std::vector<ByteVector>& packets);

  Channel channel_;
  std::uint64_t own_generation_;
  std::uint32_t attempts_;
  std::int64_t first_us_;
  std::int64_t cap_us_;
  bool peer_knows_certificate_ = false;
  ReceivedWindow received_;
  std::vector<ByteVector> reliable_;
  std::vector<ByteVector> unreliable_;
  std::size_t unacknowledged_bytes_ = 0;
  std::map<std::uint64_t, InFlight> unacknowledged_;
  std::set<std::pair<std::int64_t, std::uint64_t>> due_;
  std::vector<std::uint64_t> acks_;  ///< to send
  std::int64_t acks_due_us_ = 0;
};

}  // namespace cosigner::worker
