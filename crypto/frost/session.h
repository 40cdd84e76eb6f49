#pragma once
// One FROST signature (RFC 9591 §5.2, §5.3): binding factors, group commitment, challenge, a
// signature share, aggregation with identifiable abort. No messages and no state machine here; see
// signing.h for those.
//
// Checked here: the list of signers is strictly ascending without index 0; our own commitments
// stand in it as we published them; every other D and E is a canonical prime-order point; R is not
// the identity. BIP-340's parity rule enters in two places, marked "parity".
//
// Cost for two signers: one validated decode (D), one multiplication (ρE, which validates E), two
// additions, and for our own R_i one base multiplication by d + ρe instead of a decode and a
// multiplication.

#include <algorithm>
#include <cassert>
#include <utility>
#include <vector>

#include "crypto/frost/lagrange.h"
#include "crypto/frost/nonce.h"
#include "crypto/frost/suite.h"

namespace cosigner {

template <FrostSuite Suite>
class FrostSession {
 public:
  using Group = typename Suite::Group;
  using Scalar = typename Group::Scalar;
  using SecretScalar = typename Group::SecretScalar;
  using Point = typename Group::Point;
  using Commitments = FrostCommitments<Suite>;
  using PointBytes = Bytes<Group::kPointSize>;

  struct Signer {
    ParticipantIndex index = 0;
    Commitments commitments;
  };
  struct SignatureShare {
    ParticipantIndex index = 0;
    Scalar z;
  };
  struct Signed;

  /// Computes our signature share; the nonce is gone afterwards. Fails recoverably when the list is
  /// wrong, naming everyone whose commitments do not decode.
  [[nodiscard]] static Result<Signed> sign(const PointBytes& public_key,
                                           std::vector<Signer> signers, ByteView message,
                                           ParticipantIndex self, const SecretScalar& share,
                                           FrostNonce<Suite> nonce) {
    FrostSession session(public_key, std::move(signers));
    if (auto checked = session.check_list(); !checked) {
      return std::unexpected(checked.error());
    }
    const auto own = std::ranges::find(session.signers_, self, &Signer::index);
    if (own == session.signers_.end() || own->commitments != nonce.commitments()) {
      return recoverable("our own nonce commitments are not in the list as we published them");
    }
    session.compute_binding_factors(message);
    const SecretScalar own_nonce = nonce.hiding_ + nonce.binding_ * session.binding_factor(self);
    const auto own_commitment = Group::multiply_base(own_nonce);  // R_i = D_i + ρ_i·E_i
    if (!own_commitment) {
      return unattributable("our own nonce combination is zero");
    }
    if (auto computed = session.compute_challenge(message, self, &*own_commitment); !computed) {
      return std::unexpected(computed.error());
    }
    const Scalar weight = session.lagrange(self) * session.challenge_;
    const SecretScalar response = (session.nonce_negated_ ? -own_nonce : own_nonce.duplicate()) +
                                  (session.key_negated_ ? -share : share.duplicate()) * weight;
    return Signed{std::move(session), response.reveal()};
  }

  /// The same session as someone sees it who holds no nonce in it.
  [[nodiscard]] static Result<FrostSession> observe(const PointBytes& public_key,
                                                    std::vector<Signer> signers, ByteView message) {
    FrostSession session(public_key, std::move(signers));
    if (auto checked = session.check_list(); !checked) {
      return std::unexpected(checked.error());
    }
    session.compute_binding_factors(message);
    if (auto computed = session.compute_challenge(message, 0, nullptr); !computed) {
      return std::unexpected(computed.error());
    }
    return session;
  }

  /// z_j·G == R_j + c·λ_j·Y_j. Whoever's share fails is to blame.
  [[nodiscard]] bool share_is_valid_vartime(const SignatureShare& share,
                                            const Point& public_share) const {
    const auto position = std::ranges::find(signers_, share.index, &Signer::index);
    if (position == signers_.end()) {
      return false;
    }
    std::vector<Point> right =
        commitment_terms_[static_cast<std::size_t>(position - signers_.begin())];
    if (nonce_negated_) {
      for (Point& point : right) {
        point = Group::negate(point);
      }
    }
    const Scalar weight = lagrange(share.index) * challenge_;
    if (const auto key_term =
            Group::multiply_vartime(key_negated_ ? -weight : weight, public_share)) {
      right.push_back(*key_term);
    }
    return Group::multiply_base_vartime(share.z) == Group::sum(right);
  }

  /// Adds the shares up and verifies the signature. Only if it does not verify, checks every share
  /// against `public_share(index)` (→ const Point*, null when unknown) and blames everyone whose
  /// share is wrong. `shares` must be one for each signer, else a recoverable error.
  template <class PublicShare>
  [[nodiscard]] Result<ByteVector> aggregate(std::span<const SignatureShare> shares,
                                             ByteView message, PublicShare public_share) const {
    if (!std::ranges::equal(shares, signers_, {}, &SignatureShare::index, &Signer::index)) {
      return recoverable("there is not exactly one signature share from every signer");
    }
    Scalar z = Group::scalar(0);
    for (const SignatureShare& share : shares) {
      z = z + share.z;
    }
    ByteVector signature = Suite::encode_signature(group_commitment_, z);
    if (Suite::verify_vartime(public_key_, message, signature)) {
      return signature;
    }
    Abort abort{AbortClass::kAttributable, {}, "signature shares that do not verify"};
    for (const SignatureShare& share : shares) {
      const auto point = public_share(share.index);
      if (!point || !share_is_valid_vartime(share, *point)) {
        abort.culprits.push_back(share.index);
      }
    }
    if (abort.culprits.empty()) {
      return unattributable("all signature shares verify, but the signature does not");
    }
    return std::unexpected(std::move(abort));
  }

  [[nodiscard]] const Scalar& binding_factor(ParticipantIndex index) const {
    const auto position = std::ranges::find(signers_, index, &Signer::index);
    assert(position != signers_.end());
    return binding_factors_[static_cast<std::size_t>(position - signers_.begin())];
  }
  [[nodiscard]] const PointBytes& group_commitment() const { return group_commitment_; }

 private:
  FrostSession(const PointBytes& public_key, std::vector<Signer> signers)
      : public_key_(Suite::evened(public_key)),    // parity 1: an odd key counts as its negative,
        key_negated_(Suite::negated(public_key)),  // and so does its share
        signers_(std::move(signers)) {
    indices_.reserve(signers_.size());
    for (const Signer& signer : signers_) {
      indices_.push_back(signer.index);
    }
  }

  [[nodiscard]] Result<void> check_list() const {
    ParticipantIndex previous = 0;
    for (const ParticipantIndex index : indices_) {
      if (index <= previous) {
        return recoverable("the list of signers is not sorted, repeats an index or has index 0");
      }
      previous = index;
    }
    return {};
  }

  // RFC 9591 §4.4: ρ_j = H1(enc(P) ‖ H4(message) ‖ H5(list) ‖ enc(j)).
  void compute_binding_factors(ByteView message) {
    Writer list;
    for (const Signer& signer : signers_) {
      list.fixed(Group::encode(Group::scalar(signer.index)))
          .fixed(signer.commitments.hiding)
          .fixed(signer.commitments.binding);
    }
    const ByteVector prefix = Writer()
                                  .fixed(public_key_)
                                  .fixed(Suite::hash_message(message))
                                  .fixed(Suite::hash_commitments(list.view()))
                                  .take();
    binding_factors_.reserve(signers_.size());
    for (const Signer& signer : signers_) {
      binding_factors_.push_back(
          Suite::binding_factor(prefix, Group::encode(Group::scalar(signer.index))));
    }
  }

  // R = Σ R_j and c = H2(R, P, message). `own`: R_self, when we know it already.
  [[nodiscard]] Result<void> compute_challenge(ByteView message, ParticipantIndex self,
                                               const Point* own) {
    Abort bad{AbortClass::kRecoverable, {}, "nonce commitments that are no valid points"};
    std::vector<Point> all;
    all.reserve(2 * signers_.size());
    for (std::size_t k = 0; k < signers_.size(); ++k) {
      const Signer& signer = signers_[k];
      std::vector<Point>& terms = commitment_terms_.emplace_back();
      if (own != nullptr && signer.index == self) {
        terms.push_back(*own);
      } else {
        const auto hiding = Group::decode_point(signer.commitments.hiding);
        const auto binding =
            Group::multiply_encoded_vartime(binding_factors_[k], signer.commitments.binding);
        if (!hiding || !binding) {
          bad.culprits.push_back(signer.index);
          continue;
        }
        terms.push_back(*hiding);
        terms.push_back(*binding);
      }
      all.insert(all.end(), terms.begin(), terms.end());
    }
    if (!bad.culprits.empty()) {
      return std::unexpected(std::move(bad));
    }
    const auto sum = Group::sum(all);
    if (!sum) {
      return unattributable("the group commitment is the identity");
    }
    group_commitment_ = *PointBytes::from(Group::encode(*sum));
    nonce_negated_ = Suite::negated(group_commitment_);  // parity 2: so do R and the nonces
    challenge_ = Suite::challenge(group_commitment_, public_key_, message);
    return {};
  }

  [[nodiscard]] Scalar lagrange(ParticipantIndex index) const {
    return lagrange_vartime<Group>(indices_, index);
  }

  PointBytes public_key_;  // after parity: the key that is signed for
  bool key_negated_ = false;
  bool nonce_negated_ = false;
  std::vector<Signer> signers_;
  std::vector<ParticipantIndex> indices_;
  std::vector<Scalar> binding_factors_;
  std::vector<std::vector<Point>> commitment_terms_;  // summing to R_j, one list for each signer
  PointBytes group_commitment_;
  Scalar challenge_;
};

template <FrostSuite Suite>
struct FrostSession<Suite>::Signed {
  FrostSession session;
  Scalar z;
};

}  // namespace cosigner
