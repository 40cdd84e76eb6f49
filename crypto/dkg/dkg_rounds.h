#pragma once
// Rounds 0 to 2 of crypto/dkg/dkg.h, in their order: hellos, openings, deals. Included by that
// header only; round 3 is in dkg_verdicts.h, and dkg_progress.h says when each begins.

#include "crypto/base/declassify.h"
#include "crypto/dkg/dkg.h"

namespace cosigner {

// ---- round 0: hello

template <ThresholdGroup Group>
Dkg<Group>::Dkg(const KeygenParameters& parameters, std::unique_ptr<DkgExtension> extension,
                Random& random)
    : parameters_(parameters),
      extension_(std::move(extension)),
      random_(&random),
      inbox_(parameters.self, parameters.participants, kVerdictRound, longest_payload()),
      polynomial_(SecretPolynomial<Group>::random(parameters.threshold, random)),
      encryption_key_(random.secret<32>()),
      chain_code_share_(random.bytes<Bytes<32>>()),
      blinding_(random.bytes<Bytes<32>>()),
      own_vector_(polynomial_->feldman_vector()) {
  DkgHello hello;
  hello.nonce = random.bytes<Bytes<32>>();
  declassify(&hello.nonce, sizeof hello.nonce);              // sent with the hello
  declassify(&chain_code_share_, sizeof chain_code_share_);  // sent in round 1, as is
  declassify(&blinding_, sizeof blinding_);                  // the blinding value
  hello.commitment = dkg_commitment(parameters_, parameters_.self, encode_all(own_vector_),
                                    chain_code_share_, blinding_);
  hello.encryption_key = x25519_public_key(encryption_key_);
  hello_ = hello.encode();
}

// ---- start: the session id, then our opening

template <ThresholdGroup Group>
Result<Messages> Dkg<Group>::do_start(std::span<const SetMember> set, const Digest& binding) {
  if (phase_ != Phase::kStart) {
    return recoverable("this key generation has been started or has failed already");
  }
  if (auto checked = check_set(set, parameters_.self, hello_, parameters_.participants); !checked) {
    return std::unexpected(checked.error());
  }
  if (set.size() != parameters_.participants.size()) {
    return recoverable("a key is made by all its participants, and some are missing in the set");
  }
  for (const SetMember& member : set) {
    auto hello = DkgHello::decode(member.hello, member.index);
    if (!hello) {
      return std::unexpected(hello.error());
    }
    SecretBytes<32> shared;
    if (member.index != parameters_.self) {
      auto agreed = x25519(encryption_key_, hello->encryption_key);
      if (!agreed) {
        return malformed(member.index, "an encryption key of small order");
      }
      shared = std::move(*agreed);
    }
    hellos_.push_back(*hello);
    hello_bytes_.push_back(member.hello);
    shared_.push_back(std::move(shared));
  }
  sid_ = dkg_sid(parameters_, binding, set);
  if (extension_) {
    if (auto begun = extension_->begin(sid_, parameters_.self, inbox_.peers()); !begun) {
      return std::unexpected(begun.error());
    }
  }
  Messages out;
  if (auto sent = send_openings(out); !sent) {
    return std::unexpected(sent.error());
  }
  phase_ = Phase::kOpenings;
  if (auto advanced = advance(out); !advanced) {
    return std::unexpected(advanced.error());
  }
  return out;
}

// ---- round 1: openings

template <ThresholdGroup Group>
Result<void> Dkg<Group>::send_openings(Messages& out) {
  DkgOpening<Group> opening;
  opening.echo = dkg_echo(sid_, 0, parameters_.participants, hello_bytes_);
  opening.vector = own_vector_;
  for (std::size_t k = 0; k < own_vector_.size(); ++k) {
    opening.proofs.push_back(
        SchnorrProof<Group>::prove(dkg_coefficient_statement(sid_, parameters_.self, k),
                                   polynomial_->coefficients()[k], own_vector_[k], *random_));
  }
  opening.chain_code_share = chain_code_share_;
  opening.blinding = blinding_;
  const std::size_t self = slot(parameters_.self);
  openings_.resize(parameters_.participants.size());
  openings_[self] = opening.encode();
  if (!extension_) {
    out.push_back({0, kOpeningRound, DkgRoundMessage::encode(openings_[self], {})});
    return {};
  }
  for (const ParticipantIndex peer : inbox_.peers()) {
    auto direct = extension_->round1_for(peer);
    if (!direct) {
      return std::unexpected(direct.error());
    }
    out.push_back({peer, kOpeningRound, DkgRoundMessage::encode(openings_[self], *direct)});
  }
  return {};
}

template <ThresholdGroup Group>
Result<void> Dkg<Group>::check_openings() {
  const std::size_t n = parameters_.participants.size();
  std::vector<DkgOpening<Group>> decoded(n);
  std::vector<ByteView> direct(n);
  for (const ParticipantIndex peer : inbox_.peers()) {
    const auto message = DkgRoundMessage::decode(inbox_.payload(peer, kOpeningRound), peer);
    if (!message) {
      return std::unexpected(message.error());
    }
    auto opening = DkgOpening<Group>::decode(message->broadcast, parameters_.threshold, peer);
    if (!opening) {
      return std::unexpected(opening.error());
    }
    if (message->direct.size() > (extension_ ? extension_->round1_limit() : 0)) {
      return malformed(peer, "an opening with a direct part that is too long");
    }
    openings_[slot(peer)] = to_vector(message->broadcast);
    decoded[slot(peer)] = std::move(*opening);
    direct[slot(peer)] = message->direct;
  }
  const Digest echo = dkg_echo(sid_, 0, parameters_.participants, hello_bytes_);
  for (const ParticipantIndex peer : inbox_.peers()) {
    if (decoded[slot(peer)].echo != echo) {
      return recoverable("the hellos did not reach everyone alike");
    }
  }
  if (auto checked = require_of_all(
          [&](ParticipantIndex peer) {
            const DkgOpening<Group>& opening = decoded[slot(peer)];
            return dkg_commitment(parameters_, peer, encode_all(opening.vector),
                                  opening.chain_code_share,
                                  opening.blinding) == hellos_[slot(peer)].commitment;
          },
          "a commitment that the opening does not fit");
      !checked) {
    return checked;
  }
  if (auto checked = require_of_all(
          [&](ParticipantIndex peer) {
            const DkgOpening<Group>& opening = decoded[slot(peer)];
            for (std::size_t k = 0; k < parameters_.threshold; ++k) {
              if (!opening.proofs[k].verify_vartime(dkg_coefficient_statement(sid_, peer, k),
                                                    opening.vector[k])) {
                return false;
              }
            }
            return true;
          },
          "a proof of knowledge of a coefficient that does not verify");
      !checked) {
    return checked;
  }
  if (extension_) {
    for (const ParticipantIndex peer : inbox_.peers()) {
      if (auto taken = extension_->on_round1(peer, direct[slot(peer)]); !taken) {
        return taken;
      }
    }
  }
  DkgOpening<Group>& own = decoded[slot(parameters_.self)];
  own.vector = own_vector_;
  own.chain_code_share = chain_code_share_;
  for (DkgOpening<Group>& opening : decoded) {
    vectors_.push_back(std::move(opening.vector));
    chain_code_shares_.push_back(opening.chain_code_share);
  }
  return {};
}

// F = Σ F_i and everyone's S_j = F(j). What comes out as the identity here was beyond anyone's
// control, since the vectors were committed to before any of them was seen.
template <ThresholdGroup Group>
Result<void> Dkg<Group>::aggregate() {
  for (std::size_t k = 0; k < parameters_.threshold; ++k) {
    std::vector<Point> column;
    column.reserve(vectors_.size());
    for (const std::vector<Point>& vector : vectors_) {
      column.push_back(vector[k]);
    }
    const auto sum = Group::sum(column);
    if (!sum) {
      return unattributable("a coefficient of the group polynomial is the identity");
    }
    vector_.push_back(*sum);
  }
  for (const ParticipantIndex index : parameters_.participants) {
    const auto point = evaluate_vartime<Group>(vector_, index);
    if (!point) {
      return unattributable("a public share is the identity");
    }
    public_shares_.push_back(*point);
  }
  aggregate_ = dkg_aggregate(sid_, encode_all(vector_));
  chain_code_ = dkg_chain_code(sid_, chain_code_shares_);
  return {};
}

// ---- round 2: deals

template <ThresholdGroup Group>
Result<void> Dkg<Group>::send_deals(Messages& out) {
  std::vector<ByteVector> ciphertexts;
  DkgDeal deal;
  deal.aggregate = aggregate_;
  deal.echo = dkg_echo(sid_, kOpeningRound, parameters_.participants, openings_);
  for (const ParticipantIndex peer : inbox_.peers()) {
    const SecretBytes<32> share = Group::encode(polynomial_->evaluate(peer));
    SecretVector plain(share.expose().begin(), share.expose().end());
    if (extension_) {
      const auto extra = extension_->round2_for(peer);
      if (!extra) {
        return std::unexpected(extra.error());
      }
      plain.insert(plain.end(), extra->begin(), extra->end());
    }
    const ShareRoute route{sid_, parameters_.self, peer};
    ciphertexts.push_back(seal_share(shared_[slot(peer)], route, as_view(plain)));
    deal.ciphertext_hashes.push_back(hash_ciphertext(route, ciphertexts.back()));
  }
  share_ = polynomial_->evaluate(parameters_.self);
  polynomial_.reset();
  const std::size_t self = slot(parameters_.self);
  deal_bytes_.resize(parameters_.participants.size());
  deals_.resize(parameters_.participants.size());
  deal_bytes_[self] = deal.encode();
  deals_[self] = std::move(deal);
  for (std::size_t k = 0; k < inbox_.peers().size(); ++k) {
    out.push_back({inbox_.peers()[k], kDealRound,
                   DkgRoundMessage::encode(deal_bytes_[self], ciphertexts[k])});
  }
  return {};
}

template <ThresholdGroup Group>
Result<std::vector<ByteVector>> Dkg<Group>::check_deals() {
  std::vector<ByteVector> ciphertexts(parameters_.participants.size());
  for (const ParticipantIndex peer : inbox_.peers()) {
    const auto message = DkgRoundMessage::decode(inbox_.payload(peer, kDealRound), peer);
    if (!message) {
      return std::unexpected(message.error());
    }
    auto deal = DkgDeal::decode(message->broadcast, inbox_.peers().size(), peer);
    if (!deal) {
      return std::unexpected(deal.error());
    }
    deals_[slot(peer)] = std::move(*deal);
    deal_bytes_[slot(peer)] = to_vector(message->broadcast);
    ciphertexts[slot(peer)] = to_vector(message->direct);
  }
  for (const ParticipantIndex peer : inbox_.peers()) {
    if (deals_[slot(peer)].echo != deals_[slot(parameters_.self)].echo) {
      return recoverable("the openings did not reach everyone alike");
    }
  }
  if (auto checked = require_of_all(
          [&](ParticipantIndex peer) { return deals_[slot(peer)].aggregate == aggregate_; },
          "a sum of Feldman vectors that is not their sum");
      !checked) {
    return std::unexpected(checked.error());
  }
  if (auto checked = require_of_all(
          [&](ParticipantIndex peer) {
            return hash_ciphertext({sid_, peer, parameters_.self}, ciphertexts[slot(peer)]) ==
                   deals_[slot(peer)].hash_for(parameters_.self, peer, parameters_.participants);
          },
          "a ciphertext other than the one its sender lists");
      !checked) {
    return std::unexpected(checked.error());
  }
  return ciphertexts;
}

template <ThresholdGroup Group>
Result<void> Dkg<Group>::open_deals(const std::vector<ByteVector>& ciphertexts, Messages& out) {
  DkgComplaint complaint;
  Abort abort{AbortClass::kAttributable, {}, "a share that its dealer's Feldman vector refutes"};
  std::vector<std::pair<ParticipantIndex, SecretVector>> extras;
  for (const ParticipantIndex dealer : inbox_.peers()) {
    auto opened =
        open_dealing<Group>(shared_[slot(dealer)], {sid_, dealer, parameters_.self},
                            ciphertexts[slot(dealer)], vectors_[slot(dealer)], extra_limit());
    if (!opened) {
      abort.culprits.push_back(dealer);
      complaint.accusations.push_back({dealer, ciphertexts[slot(dealer)]});
      continue;
    }
    share_ = share_ + opened->share;
    extras.emplace_back(dealer, std::move(opened->extra));
  }
  if (!abort.culprits.empty()) {
    complaint.view = dkg_echo(sid_, kDealRound, parameters_.participants, deal_bytes_);
    complaint.key = encryption_key_.duplicate();
    out.push_back({0, kVerdictRound, complaint.encode()});
    pending_failure_ = std::move(abort);
    return {};
  }
  if (extension_) {
    for (const auto& [peer, extra] : extras) {
      if (auto taken = extension_->on_round2(peer, as_view(extra)); !taken) {
        return taken;
      }
    }
  }
  return {};
}

}  // namespace cosigner
