#pragma once
// What the session engine sees of every threshold protocol: a state machine that is fed whole
// messages and answers with messages. No sockets, no clock, no logging; randomness is handed in.
// Schemes stand beside one another behind this interface; the engine never looks inside a payload.
//
// Life of one attempt:  construct → hello() → start(set) → receive(…)… → outcome()
//   * hello() is the scheme's first message. It rides in the session's rendezvous
//     (worker/session/rendezvous.h), signed by the worker, and comes back to everyone in start():
//     the rendezvous is the protocol's first round.
//   * A failed check returns an Abort and the object is dead: every later call returns an Abort as
//   well.
//   * Messages may come early (a faster peer is one round ahead): they are kept, at most one for
//   each (from, round).
//     The same message again is ignored; a different one for the same (from, round) is blamed on
//     its sender.
//   * A message whose sender is not in the set, is the receiver itself, or whose round does not
//   exist is refused.

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "crypto/base/abort.h"
#include "crypto/base/bytes.h"
#include "crypto/base/random.h"
#include "crypto/base/secret.h"
#include "crypto/scheme/scheme.h"  // IWYU pragma: export

namespace cosigner {

struct ProtocolMessage {
  ParticipantIndex to = 0;  ///< 0: every other member of the set (same payload to each)
  std::uint8_t round = 0;   ///< 1, 2, … (the hello is round 0)
  ByteVector payload;
};
using Messages = std::vector<ProtocolMessage>;

/// A member of the set that runs an attempt, with what its hello carried. Sets are sorted by index,
/// without repeats, and include the receiver itself (whose hello payload must be what hello()
/// returned, or start() refuses).
struct SetMember {
  ParticipantIndex index = 0;
  ByteVector hello;
};

/// What a finished key generation leaves with one participant.
struct KeyOutcome {
  PublicKeyRecord record;
  SecretVector secret;  ///< scheme-specific encoding of the share (and OT state); sealed before it
                        ///< leaves the worker
};
struct SignatureOutcome {
  ByteVector signature;  ///< verified under the key before it is released
};
using Outcome = std::variant<KeyOutcome, SignatureOutcome>;

/// Learns when a protocol is about to check a peer's work against OT secrets. When checking()
/// returns, the notice must have left the process: if the process dies before checked(), the peer
/// may have caused it. A failed check ends in an Abort of class kBurn, without checked().
class CheckObserver {
 public:
  virtual ~CheckObserver() = default;
  virtual void checking(ParticipantIndex peer) = 0;
  virtual void checked(ParticipantIndex peer) = 0;
};

class Protocol {
 public:
  virtual ~Protocol() = default;
  [[nodiscard]] virtual const ByteVector& hello() const = 0;
  /// `binding` is the rendezvous' digest over session, attempt, key, epoch and all hellos in the
  /// set.
  [[nodiscard]] virtual Result<Messages> start(std::span<const SetMember> set,
                                               const Digest& binding) = 0;
  [[nodiscard]] virtual Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                                 ByteView payload) = 0;
  /// Set once, when this participant is done. Signing: only at the assembler (see SignParameters).
  [[nodiscard]] virtual std::optional<Outcome> take_outcome() = 0;
  /// A failure that had to let messages out first (a complaint with its evidence): ask after every
  /// call. Once it answers, the object is dead, and the messages of the last call still go out.
  [[nodiscard]] virtual std::optional<Abort> take_failure() { return std::nullopt; }
  /// Before start(); the observer must outlive the protocol. Schemes without OT never call it.
  virtual void observe_checks(CheckObserver* /*observer*/) {}
  /// No message of any round is longer; receive() refuses those that are.
  [[nodiscard]] virtual std::size_t payload_limit() const = 0;
};

struct KeygenParameters {
  Scheme scheme = Scheme::kEd25519;
  Digest context;  ///< all that the run is bound to: protocol, cluster, suite, n, t, identities,
                   ///< key id, epoch, session
  std::uint16_t threshold = 0;
  std::vector<ParticipantIndex> participants;  ///< sorted, all n
  ParticipantIndex self = 0;
};
/// Refuses t < 2, t > n, n > kMaxParticipants, unsorted or zero indices, self not in the list.
/// `random` must outlive the protocol.
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_keygen(const KeygenParameters& parameters,
                                                            Random& random);

struct SignParameters {
  PublicKeyRecord record;
  ByteView secret;     ///< KeyOutcome::secret of this participant; read during construction only
  ByteVector message;  ///< Ed25519: the message itself; ECDSA: a 32-byte digest
  std::vector<std::uint32_t> path;  ///< BIP-32, non-hardened (crypto/bip32); ECDSA only
  Digest context;                   ///< binds cluster, user, key, epoch, session and attempt
  ParticipantIndex self = 0;
  ParticipantIndex assembler =
      0;  ///< receives the last round, assembles and verifies (the attempt's coordinator)
};
[[nodiscard]] Result<std::unique_ptr<Protocol>> make_sign(SignParameters parameters,
                                                          Random& random);

}  // namespace cosigner
