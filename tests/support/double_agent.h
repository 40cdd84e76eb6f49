#pragma once
// Plays a worker whose owner has turned: reads and alters, with that worker's own keys, what it
// sends in sealed packets. What comes out is authentic; only its contents lie.

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "crypto/channel/channel.h"
#include "tests/support/engine_cluster.h"
#include "worker/session/message_fields.h"
#include "worker/session/packet.h"
#include "worker/session/session_messages.h"

namespace cosigner::test {

class DoubleAgent {
 public:
  /// May change, add or remove messages of one packet to `to`.
  using Alter = std::function<void(const std::string& to, std::vector<ByteVector>& messages)>;

  DoubleAgent(EngineCluster& cluster, std::string name, Alter alter)
      : cluster_(cluster), name_(std::move(name)), alter_(std::move(alter)) {}

  /// For EngineCluster::filter.
  bool operator()(const std::string& from, const std::string& to, ByteVector& packet) {
    if (from != name_ || worker::packet_kind(packet) != worker::PacketKind::kSealed) {
      return true;
    }
    const auto sealed = worker::decode_sealed(packet).value();
    if (sealed.sender_generation != cluster_.node(name_).generation ||
        sealed.recipient_generation != cluster_.node(to).generation) {
      return true;  // for a worker that is gone: nobody will open it
    }
    Pair& pair = pair_with(to);
    if (const auto again = pair.sent.find(sealed.sequence); again != pair.sent.end()) {
      packet = again->second;  // a retransmission repeats the ciphertext, also ours
      return true;
    }
    const auto plain =
        pair.as_receiver.open(sealed.sequence, sealed.associated, sealed.ciphertext).value();
    const worker::PacketContents contents = worker::decode_contents(as_view(plain)).value();
    std::vector<ByteVector> messages;
    for (const ByteView message : contents.messages) {
      messages.push_back(to_vector(message));
    }
    alter_(to, messages);
    const SecretVector altered =
        worker::encode_contents(contents.acknowledge, contents.acknowledged, messages);
    Channel::Sealed resealed = pair.as_sender.seal(sealed.associated, as_view(altered));
    while (resealed.sequence < sealed.sequence) {
      resealed = pair.as_sender.seal(sealed.associated, as_view(altered));
    }
    ByteVector out = to_vector(sealed.associated);
    Writer sequence;
    sequence.u64(sealed.sequence);
    out.insert(out.end(), sequence.view().begin(), sequence.view().end());
    out.insert(out.end(), resealed.bytes.begin(), resealed.bytes.end());
    pair.sent[sealed.sequence] = out;
    packet = std::move(out);
    return true;
  }

 private:
  struct Pair {
    Channel as_sender;
    Channel as_receiver;
    std::map<std::uint64_t, ByteVector> sent;
  };
  Pair& pair_with(const std::string& to) {
    const EngineCluster::Node& own = cluster_.node(name_);
    const EngineCluster::Node& peer = cluster_.node(to);
    const auto key = std::tuple(to, own.generation, peer.generation);
    auto found = pairs_.find(key);
    if (found == pairs_.end()) {
      ChannelMaker sending(own.channel_secret, own.certificate);
      ChannelMaker receiving(peer.channel_secret, peer.certificate);
      found = pairs_
                  .emplace(key, Pair{sending.connect(peer.certificate).value(),
                                     receiving.connect(own.certificate).value(),
                                     {}})
                  .first;
    }
    return found->second;
  }

  EngineCluster& cluster_;
  std::string name_;
  Alter alter_;
  std::map<std::tuple<std::string, std::uint64_t, std::uint64_t>, Pair> pairs_;
};

/// A message of this kind?
template <class T>
bool is(const ByteVector& message) {
  return !message.empty() && message[0] == static_cast<std::uint8_t>(T::kKind);
}
template <class T>
T decoded(const ByteVector& message) {
  return worker::decode_fields<T>(ByteView(message).subspan(1)).value();
}

}  // namespace cosigner::test
