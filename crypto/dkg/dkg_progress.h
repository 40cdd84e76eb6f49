#pragma once
// What drives the rounds of crypto/dkg/dkg.h: a message is taken in, the rounds whose messages are
// complete are worked off, and no secret outlives the end. Included by that header only.

#include "crypto/dkg/dkg.h"

namespace cosigner {

template <ThresholdGroup Group>
Result<Messages> Dkg<Group>::do_receive(ParticipantIndex from, std::uint8_t round,
                                        ByteView payload) {
  if (phase_ == Phase::kComplained) {
    return std::unexpected(*pending_failure_);
  }
  if (phase_ == Phase::kDead) {
    return recoverable("this key generation has failed already");
  }
  const auto is_new = inbox_.accept(from, round, payload);
  if (!is_new) {
    return std::unexpected(is_new.error());
  }
  Messages out;
  if (*is_new) {
    if (auto advanced = advance(out); !advanced) {
      return std::unexpected(advanced.error());
    }
  }
  return out;
}

// The end of every call: a failure is final, and nothing secret outlives it.
template <ThresholdGroup Group>
Result<Messages> Dkg<Group>::settle(Result<Messages> result) {
  burn_stack();
  if (!result) {
    die();
  } else if (phase_ == Phase::kDead || phase_ == Phase::kComplained || phase_ == Phase::kFinished) {
    forget_secrets();
  }
  return result;
}

template <ThresholdGroup Group>
void Dkg<Group>::die() noexcept {
  phase_ = Phase::kDead;
  forget_secrets();
  burn_stack();
}

template <ThresholdGroup Group>
void Dkg<Group>::forget_secrets() noexcept {
  polynomial_.reset();
  encryption_key_.wipe();
  shared_.clear();
  share_ = SecretScalar();
  extension_.reset();
}

// Works off every round whose messages are complete.
template <ThresholdGroup Group>
Result<void> Dkg<Group>::advance(Messages& out) {
  if (phase_ == Phase::kOpenings && inbox_.complete(kOpeningRound)) {
    if (auto done = check_openings(); !done) {
      return done;
    }
    if (auto done = aggregate(); !done) {
      return done;
    }
    if (auto done = send_deals(out); !done) {
      return done;
    }
    phase_ = Phase::kDeals;
  }
  if (phase_ == Phase::kDeals && inbox_.complete(kDealRound)) {
    auto ciphertexts = check_deals();
    if (!ciphertexts) {
      return std::unexpected(ciphertexts.error());
    }
    if (auto done = open_deals(*ciphertexts, out); !done) {
      return done;
    }
    if (pending_failure_) {
      phase_ = Phase::kComplained;
      return {};
    }
    phase_ = Phase::kVerdicts;
    if (auto done = confirm(out); !done) {
      return done;
    }
  }
  if (phase_ == Phase::kVerdicts) {
    if (auto done = check_verdicts(); !done) {
      return done;
    }
  }
  return {};
}

// The largest honest message is an opening, a deal, or a complaint about everybody.
template <ThresholdGroup Group>
std::size_t Dkg<Group>::longest_payload() const {
  const std::size_t opening =
      128 + parameters_.threshold * (Group::kPointSize + SchnorrProof<Group>::kEncodedSize) +
      (extension_ ? extension_->round1_limit() : 0);
  const std::size_t ciphertext = 32 + kAeadTagSize + extra_limit() + 8;
  const std::size_t per_peer = std::max(ciphertext, Digest::kSize);
  return opening + ciphertext + 128 + parameters_.participants.size() * per_peer;
}

}  // namespace cosigner
