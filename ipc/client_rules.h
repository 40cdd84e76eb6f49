#pragma once
// When a client may believe what it hears: the first answer whose contents verify; an error only
// when n−t+1 different nodes have signed errors, since then no t are left that could succeed. Pure:
// answers are fed in, the outcome comes out.

#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ipc/answer.h"

namespace cosigner {

/// What the client knows before it asks.
struct ClientExpectation {
  std::string cluster;
  std::vector<ipc::Peer> nodes;  ///< all nodes of the cluster with their identity keys
  Request request;
  SessionId session;
  /// sign: the key's public key (with a path: the derived one). Without it any signature that
  /// verifies under the key that the answer itself names is taken, on the word of the one node that
  /// answered.
  std::optional<ByteVector> public_key;
  /// sign: the key's threshold and participants, where known. Without them: t = 2 (the least there
  /// is) and all nodes of the cluster, which asks for the most errors.
  std::optional<std::uint16_t> threshold;
  std::optional<std::vector<std::string>> participants;
};

class ClientRules {
 public:
  explicit ClientRules(ClientExpectation expectation);

  /// An answer envelope from the inbox. Returns true if this one settled the outcome. What does not
  /// verify is counted and ignored.
  /// presign: every participant makes its own part, so the outcome is settled when all have
  /// answered (a success if any is one), and sums up what they made.
  bool feed(ByteView envelope, std::uint64_t now_seconds);

  [[nodiscard]] bool settled() const { return outcome_.has_value(); }
  /// Requires settled(): a success, or an answer that holds the error to report.
  [[nodiscard]] const RequestAnswer& outcome() const { return *outcome_; }
  /// The node whose success was taken (presign: the nodes); empty for errors.
  [[nodiscard]] const std::string& answered_by() const { return answered_by_; }
  /// To report at the deadline: peer_timeout that says how many nodes answered with what.
  [[nodiscard]] Error deadline_error() const;

  /// Errors so far, by node.
  [[nodiscard]] const std::map<std::string, Error>& errors() const { return errors_; }
  /// How many different nodes' errors make an error.
  [[nodiscard]] std::size_t errors_needed() const;
  /// Envelopes that did not verify.
  [[nodiscard]] std::uint64_t rejected() const { return rejected_; }

 private:
  Expected<RequestAnswer> authenticate(const AnswerEnvelope& envelope,
                                       std::uint64_t now_seconds) const;
  Expected<void> check_success(const RequestAnswer& answer) const;
  [[nodiscard]] RequestAnswer representative_error() const;
  /// presign: settles once all have answered.
  bool sum_up();

  ClientExpectation expectation_;
  std::map<std::string, Error> errors_;
  std::map<std::string, PresignResult> parts_;  ///< presign: by node
  std::optional<RequestAnswer> outcome_;
  std::string answered_by_;
  std::uint64_t rejected_ = 0;
  std::string last_rejection_;  ///< why the last one did not verify
};

}  // namespace cosigner
