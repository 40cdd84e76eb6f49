#pragma once
// What workers say to one another to make presignatures (presigner.h). All of it travels in sealed
// packets between two workers that know each other's certificates, so sender, receiver and their
// generations are authenticated; nothing of it is a client's request.
//
//   owner ── propose ──▶ members ── accept ──▶ owner ── begin ──▶ members    (t = 2 needs no begin)
//   rounds of the protocol among all;  members ── ready ──▶ owner;  anyone ── end ──▶ anyone

#include "worker/session/session_messages.h"

namespace cosigner::worker {

/// The worker of one generation on one node.
struct PresignMember {
  std::string node;
  std::uint64_t generation = 0;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.text(self.node, kMaxNodeName);
    f.u64(self.generation);
  }
};

/// "Make a presignature with me": the sender becomes its owner.
struct PresignPropose {
  static constexpr MessageKind kKind = MessageKind::kPresignPropose;
  SessionId run;  ///< random, chosen by the owner
  std::string key;
  std::uint64_t epoch = 0;
  Digest record;             ///< H(kKeyAcknowledgement; record) of that epoch
  std::uint64_t number = 0;  ///< counted by the owner for this key
  std::uint64_t floor = 0;   ///< the owner will not name any with a lower number
  SessionId order;           ///< the client's request it is made for; zero: refill of the pool
  std::vector<PresignMember> members;  ///< exactly t, sorted by index, the owner included
  ByteVector payload;                  ///< the owner's Protocol::hello()

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.run);
    f.text(self.key, kMaxKeyName);
    f.u64(self.epoch);
    f.fixed(self.record);
    f.u64(self.number);
    f.u64(self.floor);
    f.fixed(self.order);
    f.list(self.members, kMaxParticipants);
    f.bytes(self.payload, kMaxHelloPayload);
  }
};

struct PresignAccept {
  static constexpr MessageKind kKind = MessageKind::kPresignAccept;
  SessionId run;
  ByteVector payload;  ///< the member's Protocol::hello()

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.run);
    f.bytes(self.payload, kMaxHelloPayload);
  }
};

struct PresignHello {
  ByteVector payload;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.bytes(self.payload, kMaxHelloPayload);
  }
};

/// All hellos, in the order of the proposal's members. The protocol binds itself to them and
/// compares them before it touches OT state, so an owner that tells members different things ends
/// the run and nothing else.
struct PresignBegin {
  static constexpr MessageKind kKind = MessageKind::kPresignBegin;
  SessionId run;
  std::vector<PresignHello> hellos;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.run);
    f.list(self.hellos, kMaxParticipants);
  }
};

struct PresignRound {
  static constexpr MessageKind kKind = MessageKind::kPresignRound;
  SessionId run;
  std::uint8_t round = 0;
  ByteVector payload;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.run);
    f.u8(self.round);
    f.bytes(self.payload, kMaxRoundPayload);
  }
};

/// A member to the owner: "I hold it". The owner names it only once all have said so.
struct PresignReady {
  static constexpr MessageKind kKind = MessageKind::kPresignReady;
  SessionId run;

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.run);
  }
};

/// "Not with me", or "I have given this run up": whoever holds its presignature wipes it.
struct PresignEnd {
  static constexpr MessageKind kKind = MessageKind::kPresignEnd;
  enum class Reason : std::uint8_t {
    kFailed = 1,        ///< something went wrong in it; never more than that is said
    kFull = 2,          ///< as many as this node keeps, or makes at once
    kOrderUnknown = 3,  ///< the client's request has not come here
    kStranger = 4       ///< another epoch, or a worker of the set that is not known here
  };
  SessionId run;
  std::uint8_t reason = 0;  ///< only decides how soon the owner asks again; unknown ones: failed

  template <class Self, class F>
  static void fields(Self& self, F& f) {
    f.fixed(self.run);
    f.u8(self.reason);
  }
};

}  // namespace cosigner::worker
