#pragma once
// Round 3 of crypto/dkg/dkg.h: everyone confirms the key or complains with evidence that all others
// can judge. Included by that header only.

#include "crypto/dkg/dkg.h"

namespace cosigner {

// ---- round 3: verdicts

template <ThresholdGroup Group>
Result<void> Dkg<Group>::confirm(Messages& out) {
  const Point& public_share = public_shares_[slot(parameters_.self)];
  if (Group::multiply_base(share_) != public_share) {
    return recoverable("our own share does not fit the group polynomial");  // our bug, or memory's
  }
  transcript_ =
      dkg_transcript(sid_, openings_, deal_bytes_, encode_all(public_shares_), chain_code_);
  const DkgConfirmation<Group> confirmation{
      transcript_, public_share,
      SchnorrProof<Group>::prove(dkg_share_statement(sid_, transcript_, parameters_.self), share_,
                                 public_share, *random_)};
  out.push_back({0, kVerdictRound, confirmation.encode()});
  return {};
}

// Complaints count at once. Confirmations wait until all verdicts are here: a dealer that is about
// to be accused could otherwise hide behind a confirmation with a wrong transcript, which names
// nobody.
template <ThresholdGroup Group>
Result<void> Dkg<Group>::check_verdicts() {
  const bool complete = inbox_.complete(kVerdictRound);
  std::vector<std::pair<ParticipantIndex, DkgConfirmation<Group>>> confirmations;
  for (const ParticipantIndex peer : inbox_.peers()) {
    if (!inbox_.has(peer, kVerdictRound)) {
      continue;
    }
    const ByteVector& payload = inbox_.payload(peer, kVerdictRound);
    if (!complete && !payload.empty() && payload.front() == DkgConfirmation<Group>::kKind) {
      continue;
    }
    auto verdict = decode_dkg_verdict<Group>(payload, inbox_.peers().size(), peer);
    if (!verdict) {
      return std::unexpected(verdict.error());
    }
    if (const auto* complaint = std::get_if<DkgComplaint>(&*verdict)) {
      return judge(peer, *complaint);
    }
    confirmations.emplace_back(peer, std::get<DkgConfirmation<Group>>(std::move(*verdict)));
  }
  if (!complete) {
    return {};
  }
  for (const auto& [peer, confirmation] : confirmations) {
    if (confirmation.transcript != transcript_) {
      return recoverable("the participants saw different key generations");
    }
  }
  for (const auto& [peer, confirmation] : confirmations) {
    if (confirmation.public_share != public_shares_[slot(peer)]) {
      return blame(peer, "a public share that is not the group polynomial's");
    }
    if (!confirmation.proof.verify_vartime(dkg_share_statement(sid_, transcript_, peer),
                                           confirmation.public_share)) {
      return blame(peer, "a proof of knowledge of a share that does not verify");
    }
  }
  return finish();
}

// Everyone holds the same bytes (the views agree) and so comes to the same verdict.
template <ThresholdGroup Group>
Result<void> Dkg<Group>::judge(ParticipantIndex accuser, const DkgComplaint& complaint) const {
  if (complaint.view != dkg_echo(sid_, kDealRound, parameters_.participants, deal_bytes_)) {
    return recoverable("the deals did not reach everyone alike");
  }
  if (x25519_public_key(complaint.key) != hellos_[slot(accuser)].encryption_key) {
    return blame(accuser, "a complaint that reveals another key than the accuser's");
  }
  Abort abort{AbortClass::kAttributable, {}, "a share that its dealer's Feldman vector refutes"};
  for (const DkgComplaint::Accusation& accusation : complaint.accusations) {
    const ParticipantIndex dealer = accusation.dealer;
    if (!std::ranges::binary_search(parameters_.participants, dealer)) {
      return malformed(accuser, "a complaint about somebody who has no part in this key");
    }
    const ShareRoute route{sid_, dealer, accuser};
    if (hash_ciphertext(route, accusation.ciphertext) !=
        deals_[slot(dealer)].hash_for(accuser, dealer, parameters_.participants)) {
      return blame(accuser, "a complaint about a ciphertext that the dealer never listed");
    }
    const auto shared = x25519(complaint.key, hellos_[slot(dealer)].encryption_key);
    if (shared && open_dealing<Group>(*shared, route, accusation.ciphertext, vectors_[slot(dealer)],
                                      extra_limit())) {
      return blame(accuser, "a complaint about a share that is right");
    }
    abort.culprits.push_back(dealer);
  }
  return std::unexpected(std::move(abort));
}

template <ThresholdGroup Group>
Result<void> Dkg<Group>::finish() {
  KeyShare<Group> key;
  key.index = parameters_.self;
  key.share = std::move(share_);
  if (extension_) {
    auto state = extension_->finish();
    if (!state) {
      return std::unexpected(state.error());
    }
    key.state = std::move(*state);
  }
  KeyOutcome outcome;
  outcome.record.scheme = parameters_.scheme;
  outcome.record.threshold = parameters_.threshold;
  outcome.record.public_key = to_vector(Group::encode(vector_.front()));
  for (const ParticipantIndex index : parameters_.participants) {
    outcome.record.public_shares.emplace_back(
        index, to_vector(Group::encode(public_shares_[slot(index)])));
  }
  outcome.record.chain_code = chain_code_;
  outcome.record.transcript = transcript_;
  outcome.secret = key.encode();
  outcome_ = std::move(outcome);
  phase_ = Phase::kFinished;
  return {};
}

}  // namespace cosigner
