#pragma once
// The hello: a participant's signed offer to take part in one attempt. It travels in the clear, is
// checked by everyone alike, and is forwarded as it was signed.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/identity/ed25519_key.h"
#include "crypto/protocol/protocol.h"
#include "ipc/names.h"

namespace cosigner::worker {

/// Versions of the session protocol this release speaks; a hello carries the range.
inline constexpr std::uint8_t kProtocolLow = 1;
inline constexpr std::uint8_t kProtocolHigh = 1;

struct VersionRange {
  std::uint8_t low = kProtocolLow;
  std::uint8_t high = kProtocolHigh;
  [[nodiscard]] bool meets(VersionRange other) const {
    return low <= other.high && other.low <= high;
  }
  /// "1 to 2"
  [[nodiscard]] std::string text() const {
    return std::to_string(low) + " to " + std::to_string(high);
  }
  friend bool operator==(const VersionRange&, const VersionRange&) = default;
};

inline constexpr std::size_t kMaxCertificateBytes = 1024;
inline constexpr std::size_t kMaxHelloPayload = 64U << 10;

/// Which OT state the sender holds with one peer, so that a renewal that only one of the two has
/// finished keeps them apart instead of looking like an attack. The first 8 bytes of the set-up's
/// id will do: signing compares the whole before it touches OT.
struct PairOffer {
  ParticipantIndex peer = 0;
  Bytes<8> id;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.u16(self.peer);
    f.fixed(self.id);
  }
  friend bool operator==(const PairOffer&, const PairOffer&) = default;
};

/// A participant's offer to take part in one attempt, and the first message of its protocol.
struct Hello {
  std::uint8_t version_low = kProtocolLow;
  std::uint8_t version_high = kProtocolHigh;
  SessionId session;
  std::uint16_t attempt = 0;
  /// Counts the sessions this worker has begun. A session that failed here and is asked for again
  /// has a higher run, so its hellos do not contradict those of the run before.
  std::uint64_t run = 0;
  std::string node;
  std::uint64_t generation = 0;
  std::string key;
  std::uint64_t epoch = 0;  ///< 0: the key is being made
  /// H(kKeyAcknowledgement; record) of that epoch: what its commit certificate is over. Zero for
  /// epoch 0.
  Digest record;
  Bytes<32> nonce;
  ByteVector payload;               ///< Protocol::hello()
  std::vector<std::string> banned;  ///< nodes the sender may not sign with
  std::vector<PairOffer> pairs;     ///< schemes with OT state: by peer; none of those banned
  /// How many presignatures the sender holds that this attempt's coordinator may name.
  std::uint32_t presignatures = 0;

  [[nodiscard]] VersionRange versions() const { return {.low = version_low, .high = version_high}; }

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.u8(self.version_low);
    f.u8(self.version_high);
    f.fixed(self.session);
    f.u16(self.attempt);
    f.u64(self.run);
    f.text(self.node, kMaxNodeName);
    f.u64(self.generation);
    f.text(self.key, kMaxKeyName);
    f.u64(self.epoch);
    f.fixed(self.record);
    f.fixed(self.nonce);
    f.bytes(self.payload, kMaxHelloPayload);
    f.names(self.banned, kMaxParticipants);
    f.list(self.pairs, kMaxParticipants);
    f.u32(self.presignatures);
  }
};

/// A hello as it was signed. Forwarded in a Start unchanged, so that everyone checks the same
/// bytes.
struct SignedHello {
  ByteVector certificate;
  ByteVector body;  ///< encoded Hello
  Ed25519Signature signature;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.bytes(self.certificate, kMaxCertificateBytes);
    f.bytes(self.body, kMaxHelloPayload + 4096);
    f.fixed(self.signature);
  }
  friend bool operator==(const SignedHello&, const SignedHello&) = default;
};

/// What a hello's signature is over, and what the rendezvous' digest is made of.
[[nodiscard]] Digest hello_digest(std::string_view cluster, std::string_view user, ByteView body);

}  // namespace cosigner::worker
