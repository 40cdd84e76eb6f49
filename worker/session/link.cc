#include "worker/session/link.h"

#include <algorithm>

namespace cosigner::worker {

bool ReceivedWindow::accept(std::uint64_t sequence) {
  if (sequence >= next_) {
    if (sequence > next_) {
      gaps_.emplace(next_, sequence - 1);
      if (gaps_.size() > kMaxGaps) {
        gaps_.erase(gaps_.begin());
      }
    }
    next_ = sequence + 1;
    return true;
  }
  auto gap = gaps_.upper_bound(sequence);
  if (gap == gaps_.begin()) {
    return false;
  }
  --gap;
  const auto [first, last] = *gap;
  if (sequence > last) {
    return false;
  }
  gaps_.erase(gap);
  if (first < sequence) {
    gaps_.emplace(first, sequence - 1);
  }
  if (sequence < last) {
    gaps_.emplace(sequence + 1, last);
  }
  return true;
}

Link::Link(Channel channel, const ipc::Settings& settings, std::uint64_t own_generation)
    : channel_(std::move(channel)),
      own_generation_(own_generation),
      attempts_(std::max(settings.delivery_attempts, 1U)),
      first_us_(std::int64_t{settings.delivery_first_ms} * 1000),
      cap_us_(std::int64_t{settings.delivery_cap_ms} * 1000) {}

bool Link::queue(ByteVector message, bool reliable) {
  if (reliable) {
    if (unacknowledged_.size() + reliable_.size() >= kMaxUnacknowledged ||
        unacknowledged_bytes_ + message.size() > kMaxUnacknowledgedBytes) {
      return false;
    }
    reliable_.push_back(std::move(message));
    return true;
  }
  if (unreliable_.size() >= kMaxUnacknowledged) {
    return false;
  }
  unreliable_.push_back(std::move(message));
  return true;
}

void Link::seal(std::int64_t now_us, ByteView certificate, Jitter& jitter,
                const std::vector<ByteVector>& messages, bool reliable,
                std::vector<ByteVector>& packets) {
  const std::size_t ack_count = std::min(acks_.size(), kMaxAcksPerPacket);
  const std::vector<std::uint64_t> acks(acks_.begin(),
                                        acks_.begin() + static_cast<std::ptrdiff_t>(ack_count));
  acks_.erase(acks_.begin(), acks_.begin() + static_cast<std::ptrdiff_t>(ack_count));
  ByteVector packet = sealed_header(own_generation_, channel_.peer_generation(),
                                    peer_knows_certificate_ ? ByteView{} : certificate);
  const SecretVector plain = encode_contents(reliable, acks, messages);
  const Channel::Sealed sealed = channel_.seal(packet, as_view(plain));
  packet.reserve(packet.size() + 8 + sealed.bytes.size());
  for (unsigned shift = 64; shift > 0; shift -= 8) {
    packet.push_back(static_cast<std::uint8_t>(sealed.sequence >> (shift - 8)));
  }
  packet.insert(packet.end(), sealed.bytes.begin(), sealed.bytes.end());
  if (reliable) {
    const std::int64_t due = now_us + jitter.spread(first_us_);
    due_.emplace(due, sealed.sequence);
    unacknowledged_bytes_ += packet.size();
    unacknowledged_.emplace(
        sealed.sequence,
        InFlight{.packet = packet, .sent = 1, .due_us = due, .interval_us = first_us_});
  }
  packets.push_back(std::move(packet));
}

void Link::flush(std::int64_t now_us, ByteView certificate, Jitter& jitter,
                 std::vector<ByteVector>& packets) {
  // What needs no acknowledgement rides with what does; a packet is reliable if any of it is.
  std::vector<ByteVector> joined;
  std::size_t size = 0;
  bool reliable = false;
  const auto send = [&] {
    if (!joined.empty()) {
      seal(now_us, certificate, jitter, joined, reliable, packets);
      joined.clear();
      size = 0;
      reliable = false;
    }
  };
  const auto add = [&](std::vector<ByteVector>& from, bool is_reliable) {
    for (ByteVector& message : from) {
      if (size + message.size() > kJoinBytes || joined.size() == kMaxMessagesPerPacket) {
        send();
      }
      size += message.size();
      reliable = reliable || is_reliable;
      joined.push_back(std::move(message));
    }
    from.clear();
  };
  add(reliable_, true);
  add(unreliable_, false);
  send();
  while (!acks_.empty() && (acks_due_us_ <= now_us || acks_.size() > kMaxAcksPerPacket)) {
    seal(now_us, certificate, jitter, {}, false, packets);
  }
}

bool Link::received(std::int64_t now_us, std::uint64_t sequence, const PacketContents& contents) {
  if (contents.acknowledge) {
    if (acks_.empty()) {
      acks_due_us_ = now_us + kAckDelayUs;
    }
    acks_.push_back(sequence);
  }
  for (const std::uint64_t acknowledged : contents.acknowledged) {
    const auto found = unacknowledged_.find(acknowledged);
    if (found == unacknowledged_.end()) {
      continue;
    }
    peer_knows_certificate_ = true;
    unacknowledged_bytes_ -= found->second.packet.size();
    due_.erase({found->second.due_us, acknowledged});
    unacknowledged_.erase(found);
  }
  return received_.accept(sequence);
}

std::size_t Link::on_timer(std::int64_t now_us, Jitter& jitter, Counters& counters,
                           std::vector<ByteVector>& packets) {
  std::size_t given_up = 0;
  while (!due_.empty() && due_.begin()->first <= now_us) {
    const std::uint64_t sequence = due_.begin()->second;
    due_.erase(due_.begin());
    const auto found = unacknowledged_.find(sequence);
    InFlight& flight = found->second;
    if (flight.sent >= attempts_) {
      ++given_up;
      ++counters.undelivered;
      unacknowledged_bytes_ -= flight.packet.size();
      unacknowledged_.erase(found);
      continue;
    }
    ++flight.sent;
    ++counters.retransmissions;
    flight.interval_us = std::min(flight.interval_us * 2, cap_us_);
    flight.due_us = now_us + jitter.spread(flight.interval_us);
    due_.emplace(flight.due_us, sequence);
    packets.push_back(flight.packet);
  }
  return given_up;
}

std::optional<std::int64_t> Link::next_deadline() const {
  std::optional<std::int64_t> next;
  if (!due_.empty()) {
    next = due_.begin()->first;
  }
  if (!acks_.empty() && (!next || acks_due_us_ < *next)) {
    next = acks_due_us_;
  }
  return next;
}

}  // namespace cosigner::worker
