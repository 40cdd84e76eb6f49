#pragma once
// Packets in the name of one worker, sealed with its own keys, at any moment: what a worker whose
// owner has turned could send besides what its engine says. (DoubleAgent alters what it does send.)

#include <vector>

#include "crypto/base/wire.h"
#include "crypto/channel/channel.h"
#include "tests/support/engine_cluster.h"
#include "worker/session/packet.h"

namespace cosigner::test {

class Impostor {
 public:
  Impostor(EngineCluster& cluster, std::string name, std::string victim)
      : cluster_(cluster),
        name_(std::move(name)),
        victim_(std::move(victim)),
        channel_(ChannelMaker(cluster.node(name_).channel_secret, cluster.node(name_).certificate)
                     .connect(cluster.node(victim_).certificate)
                     .value()) {
    // Its engine has used the first sequence numbers.
    while (channel_.seal({}, {}).sequence < kFirstSequence) {
    }
  }

  /// Delivers the messages to the victim, now, in one packet.
  void say(const std::vector<ByteVector>& messages) {
    ByteVector packet = worker::sealed_header(cluster_.node(name_).generation,
                                              cluster_.node(victim_).generation, {});
    const SecretVector plain = worker::encode_contents(false, {}, messages);
    const Channel::Sealed sealed = channel_.seal(packet, as_view(plain));
    Writer sequence;
    sequence.u64(sealed.sequence);
    packet.insert(packet.end(), sequence.view().begin(), sequence.view().end());
    packet.insert(packet.end(), sealed.bytes.begin(), sealed.bytes.end());
    cluster_.deliver(name_, victim_, std::move(packet));
  }

 private:
  static constexpr std::uint64_t kFirstSequence = 1000;
  EngineCluster& cluster_;
  std::string name_;
  std::string victim_;
  Channel channel_;
};

}  // namespace cosigner::test
