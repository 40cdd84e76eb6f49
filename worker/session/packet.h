#pragma once
// Everything that travels between two workers of one user: the packets, and the messages inside
// sealed packets. Each struct lists its fields once, in `fields()`; encoder, strict decoder and the
// tests' altering visitor all follow that list, so a field cannot be read other than it was
// written.
//
// A packet is one of (payload of one NATS message, all integers big-endian):
//   hello     u8 version ‖ u8 1 ‖ SignedHello                    clear, signed by the worker's key
//   sealed    u8 version ‖ u8 2 ‖ u64 sender generation ‖ u64 recipient generation
//             ‖ bytes certificate (may be empty) ‖ u64 sequence ‖ ciphertext
//             everything before the sequence is associated data; the channel authenticates the
//             sequence and both ends itself
//   greeting  u8 version ‖ u8 3 ‖ u8 answer wanted ‖ bytes certificate    clear, proves itself

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/base/secret.h"
#include "crypto/base/wire.h"
#include "crypto/identity/ed25519_key.h"
#include "crypto/protocol/protocol.h"
#include "ipc/names.h"

namespace cosigner::worker {

inline constexpr std::uint8_t kPacketVersion = 1;
/// Versions of the session protocol this release speaks; a hello carries the range.
inline constexpr std::uint8_t kProtocolLow = 1;
inline constexpr std::uint8_t kProtocolHigh = 1;

struct VersionRange {
  std::uint8_t low = kProtocolLow;
  std::uint8_t high = kProtocolHigh;
  [[nodiscard]] bool meets(VersionRange other) const {
    return low <= other.high && other.low <= high;
  }
};

enum class PacketKind : std::uint8_t { kHello = 1, kSealed = 2, kGreeting = 3 };

inline constexpr std::size_t kMaxCertificateBytes = 1024;
inline constexpr std::size_t kMaxHelloPayload = 64U << 10;
inline constexpr std::size_t kMaxRoundPayload = 3U << 20;  ///< fits the broker's 4 MiB packets
inline constexpr std::size_t kMaxReason = 512;
inline constexpr std::size_t kMaxCommitCertificate = 64U << 10;
inline constexpr std::size_t kMaxStatement = 1024;
inline constexpr std::size_t kMaxAcksPerPacket = 1024;
inline constexpr std::size_t kMaxMessagesPerPacket = 1024;

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

enum class MessageKind : std::uint8_t {
  kStart = 1,
  kRound = 2,
  kResult = 3,
  kAbort = 4,
  kAdvance = 5,
  kDecline = 6,
  kAcknowledge = 7,
  kCertificate = 8,
  kRefusal = 9,
  kPairNotice = 10,
  // presign_messages.h
  kPresignPropose = 20,
  kPresignAccept = 21,
  kPresignBegin = 22,
  kPresignRound = 23,
  kPresignReady = 24,
  kPresignEnd = 25
};

/// The coordinator names the set: the members' hellos in full, sorted by index, its own included.
struct Start {
  static constexpr MessageKind kKind = MessageKind::kStart;
  SessionId session;
  std::uint16_t attempt = 0;
  std::vector<SignedHello> hellos;
  /// The presignature to sign with, one that all members hold and the coordinator may name. Zero:
  /// none, the full protocol.
  Digest presignature;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.u16(self.attempt);
    f.list(self.hellos, kMaxParticipants);
    f.fixed(self.presignature);
  }
};

/// A message of the protocol. Sender and receiver are those of the channel.
struct Round {
  static constexpr MessageKind kKind = MessageKind::kRound;
  SessionId session;
  std::uint16_t attempt = 0;
  /// Of the start that the sender was given, the first bytes of its digest. Compared before the
  /// payload is looked at: whoever got another start may run another protocol, and is not to be
  /// blamed for it.
  Bytes<8> start;
  std::uint8_t round = 0;
  ByteVector payload;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.u16(self.attempt);
    f.fixed(self.start);
    f.u8(self.round);
    f.bytes(self.payload, kMaxRoundPayload);
  }
};

/// A finished signature, for those who did not assemble it. Not acknowledged: who misses it says
/// hello again.
struct SignatureResult {
  static constexpr MessageKind kKind = MessageKind::kResult;
  SessionId session;
  std::uint64_t epoch = 0;
  ByteVector signature;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.u64(self.epoch);
    f.bytes(self.signature, 128);
  }
};

/// "I have ended this attempt." With a culprit if a check failed.
struct AttemptAbort {
  static constexpr MessageKind kKind = MessageKind::kAbort;
  SessionId session;
  std::uint16_t attempt = 0;
  std::string culprit;  ///< node, or empty
  std::string reason;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.u16(self.attempt);
    f.text_or_empty(self.culprit, kMaxNodeName);
    f.text_or_empty(self.reason, kMaxReason);
  }
};

/// "I am at this attempt; yours is over."
struct Advance {
  static constexpr MessageKind kKind = MessageKind::kAdvance;
  SessionId session;
  std::uint16_t attempt = 0;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.u16(self.attempt);
  }
};

/// "I do not take part in this session."
struct Decline {
  static constexpr MessageKind kKind = MessageKind::kDecline;
  SessionId session;
  std::string error;  ///< error_name()
  std::string peer;   ///< whom the sender blames, or empty
  std::string reason;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.text(self.error, 32);
    f.text_or_empty(self.peer, kMaxNodeName);
    f.text_or_empty(self.reason, kMaxReason);
  }
};

/// "My share of this record is durable" (the sender's key-acknowledgement statement).
struct Acknowledge {
  static constexpr MessageKind kKind = MessageKind::kAcknowledge;
  SessionId session;
  std::uint16_t attempt = 0;
  std::string key;
  std::uint64_t epoch = 0;
  Digest digest;                 ///< H(kKeyAcknowledgement; record)
  std::uint64_t generation = 0;  ///< of the statement, which may be older than the sender's
  Ed25519Signature signature;
  std::uint8_t wanted = 0;  ///< 1: the sender lacks the receiver's acknowledgement or refusal

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.u16(self.attempt);
    f.text(self.key, kMaxKeyName);
    f.u64(self.epoch);
    f.fixed(self.digest);
    f.u64(self.generation);
    f.fixed(self.signature);
    f.u8(self.wanted);
  }
};

/// The acknowledgements of all participants: activate.
struct CommitCertificate {
  static constexpr MessageKind kKind = MessageKind::kCertificate;
  SessionId session;
  std::string key;
  std::uint64_t epoch = 0;
  Digest digest;
  ByteVector certificate;  ///< encode_commit_certificate()

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.session);
    f.text(self.key, kMaxKeyName);
    f.u64(self.epoch);
    f.fixed(self.digest);
    f.bytes(self.certificate, kMaxCommitCertificate);
  }
};

/// A participant's signed promise never to acknowledge this record: discard. From itself, or from
/// another that has discarded on it.
struct Refusal {
  static constexpr MessageKind kKind = MessageKind::kRefusal;
  std::string key;
  ByteVector statement;  ///< encode_statement() of a key-refusal

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.text(self.key, kMaxKeyName);
    f.bytes(self.statement, kMaxStatement);
  }
};

/// About the OT state that sender and receiver have with each other: what the sender holds durably,
/// and what it wants. Sent while a renewal is under way (pairs.h).
struct PairNotice {
  static constexpr MessageKind kKind = MessageKind::kPairNotice;
  enum class Wish : std::uint8_t {
    kNothing = 0,
    kReply = 1,  ///< tell what you hold
    kRenew = 2   ///< take part in a renewal
  };
  std::string key;
  std::uint64_t epoch = 0;
  Digest record;             ///< H(kKeyAcknowledgement; record) of that epoch
  std::uint8_t wish = 0;     ///< Wish
  std::uint8_t refuses = 0;  ///< 1: the sender has banned the receiver, and no operator lifts it
  std::uint8_t holds = 0;    ///< 1: `id` is durable
  Digest id;                 ///< of the set-up that made the state; zero if there is none

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.text(self.key, kMaxKeyName);
    f.u64(self.epoch);
    f.fixed(self.record);
    f.u8(self.wish);
    f.u8(self.refuses);
    f.u8(self.holds);
    f.fixed(self.id);
  }
};

/// Writes the fields of a message in their order.
class FieldWriter {
 public:
  void u8(std::uint8_t value) { out_.u8(value); }
  void u16(std::uint16_t value) { out_.u16(value); }
  void u32(std::uint32_t value) { out_.u32(value); }
  void u64(std::uint64_t value) { out_.u64(value); }
  template <std::size_t N, class Kind>
  void fixed(const Bytes<N, Kind>& value) {
    out_.fixed(value);
  }
  void text(const std::string& value, std::size_t /*limit*/) { out_.text(value); }
  void text_or_empty(const std::string& value, std::size_t limit) {
    out_.text(std::string_view(value).substr(0, limit));
  }
  void bytes(const ByteVector& value, std::size_t /*limit*/) { out_.bytes(value); }
  void names(const std::vector<std::string>& values, std::size_t /*limit*/) {
    out_.u16(static_cast<std::uint16_t>(values.size()));
    for (const std::string& value : values) {
      out_.text(value);
    }
  }
  template <class T>
  void list(const std::vector<T>& values, std::size_t /*limit*/) {
    out_.u16(static_cast<std::uint16_t>(values.size()));
    for (const T& value : values) {
      T::fields(value, *this);
    }
  }
  Writer& writer() { return out_; }

 private:
  Writer out_;
};

/// Reads them back; bounded, and nothing may be left over.
class FieldReader {
 public:
  explicit FieldReader(ByteView input) : in_(input) {}
  void u8(std::uint8_t& value) { value = in_.u8(); }
  void u16(std::uint16_t& value) { value = in_.u16(); }
  void u32(std::uint32_t& value) { value = in_.u32(); }
  void u64(std::uint64_t& value) { value = in_.u64(); }
  template <std::size_t N, class Kind>
  void fixed(Bytes<N, Kind>& value) {
    value = in_.take<Bytes<N, Kind>>();
  }
  void text(std::string& value, std::size_t limit) {
    value = in_.text(limit);
    if (value.empty()) {
      in_.fail();
    }
  }
  void text_or_empty(std::string& value, std::size_t limit) { value = in_.text(limit); }
  void bytes(ByteVector& value, std::size_t limit) { value = to_vector(in_.bytes(limit)); }
  void names(std::vector<std::string>& values, std::size_t limit) {
    const std::size_t count = in_.count_u16(0, limit);
    for (std::size_t i = 0; i < count && in_.ok(); ++i) {
      values.push_back(in_.text(kMaxNodeName));
    }
  }
  template <class T>
  void list(std::vector<T>& values, std::size_t limit) {
    const std::size_t count = in_.count_u16(0, limit);
    for (std::size_t i = 0; i < count && in_.ok(); ++i) {
      T::fields(values.emplace_back(), *this);
    }
  }
  Reader& reader() { return in_; }

 private:
  Reader in_;
};

template <class T>
[[nodiscard]] ByteVector encode_fields(const T& value) {
  FieldWriter writer;
  T::fields(value, writer);
  return writer.writer().take();
}
template <class T>
[[nodiscard]] std::optional<T> decode_fields(ByteView bytes) {
  FieldReader reader(bytes);
  T value;
  T::fields(value, reader);
  if (!reader.reader().finished()) {
    return std::nullopt;
  }
  return value;
}

/// u8 kind ‖ fields: a message as it stands inside a sealed packet.
template <class T>
[[nodiscard]] ByteVector encode_message(const T& message) {
  FieldWriter writer;
  writer.u8(static_cast<std::uint8_t>(T::kKind));
  T::fields(message, writer);
  return writer.writer().take();
}

// ---- packets

[[nodiscard]] ByteVector encode_hello_packet(const SignedHello& hello);
[[nodiscard]] ByteVector encode_greeting(bool answer_wanted, ByteView certificate);

struct Greeting {
  bool answer_wanted = false;
  ByteVector certificate;
};
/// Views into the packet.
struct SealedPacket {
  std::uint64_t sender_generation = 0;
  std::uint64_t recipient_generation = 0;
  ByteView certificate;
  std::uint64_t sequence = 0;
  ByteView associated;
  ByteView ciphertext;
};
/// Nothing unless version and kind are ours.
[[nodiscard]] std::optional<PacketKind> packet_kind(ByteView packet);
[[nodiscard]] std::optional<SignedHello> decode_hello_packet(ByteView packet);
[[nodiscard]] std::optional<Greeting> decode_greeting(ByteView packet);
[[nodiscard]] std::optional<SealedPacket> decode_sealed(ByteView packet);

/// Everything of a sealed packet before its sequence number: the associated data.
[[nodiscard]] ByteVector sealed_header(std::uint64_t sender_generation,
                                       std::uint64_t recipient_generation, ByteView certificate);

/// What a sealed packet holds.
struct PacketContents {
  bool acknowledge = false;  ///< the receiver is to acknowledge this packet's sequence number
  std::vector<std::uint64_t> acknowledged;  ///< sequence numbers the sender has received
  std::vector<ByteView> messages;           ///< views into the plaintext, each u8 kind ‖ fields
};
[[nodiscard]] SecretVector encode_contents(bool acknowledge,
                                           const std::vector<std::uint64_t>& acknowledged,
                                           const std::vector<ByteVector>& messages);
[[nodiscard]] std::optional<PacketContents> decode_contents(ByteView plain);

}  // namespace cosigner::worker
