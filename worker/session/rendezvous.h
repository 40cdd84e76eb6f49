#pragma once
// The rules of the rendezvous that every node computes alike: who coordinates which attempt, how
// far one may jump, and what a set of hellos is bound to.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/base/bytes.h"
#include "crypto/protocol/protocol.h"
#include "worker/session/hello.h"

namespace cosigner::worker {

struct Participant {
  ParticipantIndex index = 0;
  std::string node;
  friend bool operator==(const Participant&, const Participant&) = default;
};

/// Coordinator of attempt k is the k-th participant in the order of H(kCoordinatorOrder; session,
/// node), cyclic.
class CoordinatorOrder {
 public:
  CoordinatorOrder() = default;
  CoordinatorOrder(const SessionId& session, const std::vector<Participant>& participants);

  [[nodiscard]] const std::string& of(std::uint16_t attempt) const {
    return order_[attempt % order_.size()];
  }
  /// So many attempts a node makes of its own; those that it skips because others say that they are
  /// further are not among them. Whoever lies about the attempt it is in thus ends nobody's
  /// session.
  [[nodiscard]] std::uint16_t own_attempts() const { return cycles(4); }
  /// So far a node goes in one session because others said Advance: as far as one can get that was
  /// there from the first attempt on, so that a latecomer reaches it with one word.
  [[nodiscard]] std::uint16_t most_advanced() const { return cycles(4); }
  /// So far it goes because of the hellos of one peer (and t − 2 others).
  [[nodiscard]] std::uint16_t most_jumped() const { return cycles(2); }
  /// Attempts are numbered 0 … limit() − 1.
  [[nodiscard]] std::uint16_t limit() const {
    return static_cast<std::uint16_t>(own_attempts() + most_advanced() + most_jumped());
  }

 private:
  [[nodiscard]] std::uint16_t cycles(std::size_t count) const {
    return static_cast<std::uint16_t>(count * order_.size());
  }
  std::vector<std::string> order_;
};

/// What all hellos of an attempt must agree on.
struct AttemptScope {
  std::string_view cluster;
  std::string_view user;
  std::string_view key;
  std::uint64_t epoch = 0;
  SessionId session;
  std::uint16_t attempt = 0;
};

/// The rendezvous' digest over the attempt and all hellos of the set in index order: handed to the
/// protocol, which binds everything it computes to it.
[[nodiscard]] Digest hello_set_digest(const AttemptScope& scope,
                                      const std::vector<SignedHello>& hellos);

/// The context a protocol object of this attempt is made with: cluster, user, key, epoch, session,
/// attempt, threshold, participants, and for a key generation their identity keys (in the
/// participants' order).
[[nodiscard]] Digest attempt_context(const AttemptScope& scope, Scheme scheme,
                                     std::uint16_t threshold,
                                     const std::vector<Participant>& participants,
                                     const std::vector<Ed25519PublicKey>& identities = {});

}  // namespace cosigner::worker
