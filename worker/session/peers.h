#pragma once
// The same user's workers on the other nodes: their certificates and generations, the link to each,
// presence, and what experience says about them.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/channel/channel.h"
#include "crypto/identity/certificate.h"
#include "worker/session/environment.h"
#include "worker/session/link.h"
#include "worker/session/message_fields.h"

namespace cosigner::worker {

class Peers {
 public:
  /// A coordinator or signer that let an attempt time out is avoided for this long, or until it is
  /// heard again: presence takes 1.5 s to notice a death, and no session should pay for it twice.
  static constexpr std::int64_t kSuspectUs = 2'000'000;
  /// A peer whose message failed a check is taken into a signing set only if no other fits.
  static constexpr std::int64_t kDistrustUs = 60'000'000;
  static constexpr std::int64_t kGreetingUs = 50'000;  ///< at most one greeting to a peer in this

  Peers(Environment& environment, const ipc::WorkerStart& start, const X25519SecretKey& channel_key,
        Certificate own);

  [[nodiscard]] const std::vector<ipc::Peer>& all() const { return list_; }
  [[nodiscard]] bool known(std::string_view node) const;
  /// The configuration was read again. Returns the nodes that are gone or have another identity
  /// now: nothing more of what they were is believed.
  std::vector<std::string> set_list(std::vector<ipc::Peer> list);
  /// Of nodes that are or were known (this one included); null for others.
  [[nodiscard]] const Ed25519PublicKey* identity(std::string_view node) const;

  [[nodiscard]] bool present(std::string_view node) const;
  void set_present(std::string_view node, bool present);
  [[nodiscard]] bool suspect(std::string_view node) const;
  void set_suspect(std::string_view node);
  void clear_suspect(std::string_view node);
  [[nodiscard]] bool distrusted(std::string_view node) const;
  void set_distrusted(std::string_view node);

  enum class Learnt {
    kSame,      ///< the certificate that was known already, or its renewal
    kNewer,     ///< a later generation: the link is new, what was in flight is gone
    kStale,     ///< an earlier generation than the one known
    kRefused,   ///< not valid
    kEquivocal  ///< valid, but the known certificate of that generation has other keys: proof
                ///< against that node
  };
  /// Verifies a certificate that came by wire, once for each certificate.
  Learnt learn(std::string_view node, ByteView certificate);
  /// Of the peer's newest generation; null if none is known or it has run out.
  [[nodiscard]] const Certificate* certificate(std::string_view node) const;

  /// Queues a message for this turn's packet. False if no worker of that node is known, or its
  /// queue is full.
  template <class T>
  bool send(std::string_view node, const T& message, bool reliable) {
    return queue(node, encode_message(message), reliable);
  }
  bool queue(std::string_view node, ByteVector message, bool reliable);
  /// Publishes own certificate to a node in clear (rate limited).
  void greet(std::string_view node, bool answer_wanted);
  /// Publishes a packet as it is; returns its number, which a 503 repeats.
  std::uint64_t publish(std::string_view node, ByteVector packet);

  [[nodiscard]] Link* link(std::string_view node);

  void set_own_certificate(ByteVector certificate);
  [[nodiscard]] const ByteVector& own_certificate() const { return own_certificate_; }

  void flush();
  /// Retransmits; returns the nodes to which something could not be delivered.
  std::vector<std::string> on_timer();
  [[nodiscard]] std::optional<std::int64_t> next_deadline() const;
  /// Nothing is on its way to a node that is there. What a node that went was still to get keeps
  /// no worker from leaving.
  [[nodiscard]] bool quiet() const;

 private:
  struct Peer {
    Ed25519PublicKey identity;
    bool listed = true;  ///< false: left the configuration; sessions may still name it
    bool present = false;
    std::int64_t suspect_until_us = 0;
    std::int64_t distrust_until_us = 0;
    std::int64_t greeted_us = INT64_MIN / 2;
    std::uint64_t equivocal_generation = 0;  ///< the last one that was logged
    ByteVector certificate_bytes;
    std::optional<Certificate> certificate;
    std::unique_ptr<Link> link;
    /// Identities that this node had before, and the newest generation linked under each: those
    /// links and their counters are gone, and a channel between the same two certificates would
    /// use its nonces again. Only later generations are taken.
    std::vector<std::pair<Ed25519PublicKey, std::uint64_t>> dropped;
  };
  [[nodiscard]] static Peer replaced(Peer old, const Ed25519PublicKey& identity);
  [[nodiscard]] const Peer* find(std::string_view node) const;
  [[nodiscard]] Peer* find(std::string_view node);
  [[nodiscard]] bool in_time(const Certificate& certificate) const;

  Environment& environment_;
  ByteVector own_certificate_;
  ChannelMaker maker_;
  Jitter jitter_;
  std::vector<ipc::Peer> list_;
  std::map<std::string, Peer, std::less<>> peers_;
};

}  // namespace cosigner::worker
