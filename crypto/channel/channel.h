#pragma once
// Pairwise channel between two workers of one user: X25519 → HKDF over what both certificates
// certify and the direction → AES-256-GCM with counter nonces. What is authenticated beside the
// caller's associated data: sender, recipient, their generations, the sequence number. The replay
// window belongs to the delivery layer.

#include <cstdint>
#include <map>
#include <string>

#include "crypto/base/bytes.h"
#include "crypto/base/seal.h"
#include "crypto/base/secret.h"
#include "crypto/identity/certificate.h"
#include "crypto/identity/checked.h"

namespace cosigner {

/// One end of a channel. A retransmission repeats the bytes that seal() returned.
class Channel {
 public:
  struct Sealed {
    std::uint64_t sequence = 0;  ///< 0, 1, 2, …: travels in clear and is authenticated
    ByteVector bytes;            ///< ciphertext ‖ tag
  };

  Channel(Channel&&) = default;
  Channel& operator=(Channel&&) = default;

  /// Never uses a nonce twice: the sequence number goes up with every call. Throws
  /// std::length_error after kMaxSequence messages, which no session reaches.
  [[nodiscard]] Sealed seal(ByteView associated, ByteView plain);
  /// Nothing unless the peer's worker of this generation sealed exactly this for this worker.
  [[nodiscard]] std::optional<SecretVector> open(std::uint64_t sequence, ByteView associated,
                                                 ByteView sealed) const;

  [[nodiscard]] const std::string& peer_node() const { return peer_node_; }
  [[nodiscard]] std::uint64_t peer_generation() const { return peer_generation_; }

  static constexpr std::uint64_t kMaxSequence = std::uint64_t{1} << 48U;

 private:
  friend class ChannelMaker;
  Channel() = default;
  AeadKey send_key_;
  AeadKey receive_key_;
  Digest send_prefix_;  ///< H(kChannelAad; who → whom): begins every message's associated data
  Digest receive_prefix_;
  std::uint64_t next_ = 0;
  std::string peer_node_;
  std::uint64_t peer_generation_ = 0;
};

/// Makes the channels of one worker and sees to it that each pair of generations gets one Channel
/// object only: a second one would start its counter again and use nonces twice.
class ChannelMaker {
 public:
  /// `own` is this worker's certificate; a renewed one (other validity, same keys) gives the same
  /// channels.
  ChannelMaker(const X25519SecretKey& secret, const Certificate& own);

  /// `peer` must have been verified (open_certificate). Refused: another cluster, user or role;
  /// this node itself; a generation that is not higher than the last one of that node; an X25519
  /// key of small order.
  [[nodiscard]] Checked<Channel> connect(const Certificate& peer);

 private:
  X25519SecretKey secret_;
  Certificate own_;
  std::map<std::string, std::uint64_t, std::less<>> last_generation_;
};

}  // namespace cosigner
