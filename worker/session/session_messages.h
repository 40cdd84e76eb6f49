#pragma once
// What workers say to one another about a session, a new share and the OT state of a pair: the
// messages inside sealed packets (packet.h), so sender and receiver are those of the channel. Those
// about presignatures are in presign_messages.h.

#include <cstdint>
#include <string>
#include <vector>

#include "worker/session/hello.h"

namespace cosigner::worker {

inline constexpr std::size_t kMaxRoundPayload = 3U << 20;  ///< fits the broker's 4 MiB packets
inline constexpr std::size_t kMaxReason = 512;
inline constexpr std::size_t kMaxCommitCertificate = 64U << 10;
inline constexpr std::size_t kMaxStatement = 1024;

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

}  // namespace cosigner::worker
