#pragma once
// The common distributed key generation as a Protocol (Lindell, ePrint 2022/374, protocol 6.1 in
// shape: commit, open with proofs, deal, confirm). One for every scheme; ECDSA attaches its
// pairwise set-up as a DkgExtension.
//
//   round 0  hello     → all   nonce, commitment, encryption key            hello_message.h
//   round 1  opening   → all   echo 0, Feldman vector, proofs, chain code   opening_message.h
//   round 2  deal      → each  H(F), echo 1, ciphertext hashes; ciphertext  deal_message.h
//   round 3  verdict   → all   transcript, S_i, proof; or a complaint       verdict_message.h
//
// Checks, in this order, each for everyone before the next begins:
//   start    set complete and sorted, own hello unaltered, encryption keys not of small order
//   round 1  parses, vector and proofs of length t, points valid; echo; commitment opens; proofs;
//            extension
//   round 2  parses, one hash for each peer; echo; H(F); the ciphertext is the listed one; share
//            opens and fits F_j (else a complaint); extension
//   round 3  a complaint at once; with all verdicts: transcript; S_j is F(j); proof
// An echo or transcript that differs is recoverable and names nobody, since either side may be
// lying; what contradicts a participant's own authenticated message names that participant.
//
// A complaint ends the key generation for everybody with the name of dealer or accuser. The accuser
// itself ends after its complaint is out: take_failure() has its verdict then, as does any later
// call.

#include <memory>
#include <utility>

#include "crypto/base/burn_stack.h"
#include "crypto/dkg/deal_message.h"
#include "crypto/dkg/dealing.h"
#include "crypto/dkg/extension.h"
#include "crypto/dkg/hello_message.h"
#include "crypto/dkg/opening_message.h"
#include "crypto/dkg/round_message.h"
#include "crypto/dkg/transcript.h"
#include "crypto/dkg/verdict_message.h"
#include "crypto/protocol/inbox.h"
#include "crypto/protocol/key_share.h"
#include "crypto/protocol/or_die.h"
#include "crypto/protocol/protocol.h"

namespace cosigner {

template <ThresholdGroup Group>
class Dkg final : public Protocol {
 public:
  using SecretScalar = typename Group::SecretScalar;
  using Point = typename Group::Point;

  /// `parameters` as checked by make_keygen(). `extension` may be null. `random` must outlive this
  /// object.
  Dkg(const KeygenParameters& parameters, std::unique_ptr<DkgExtension> extension, Random& random);

  [[nodiscard]] const ByteVector& hello() const override { return hello_; }
  [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                       const Digest& binding) override {
    return or_die([&] { return settle(do_start(set, binding)); }, [this]() noexcept { die(); });
  }
  [[nodiscard]] Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                         ByteView payload) override {
    return or_die([&] { return settle(do_receive(from, round, payload)); },
                  [this]() noexcept { die(); });
  }
  [[nodiscard]] std::optional<Outcome> take_outcome() override {
    return std::exchange(outcome_, std::nullopt);
  }
  [[nodiscard]] std::size_t payload_limit() const override { return inbox_.payload_limit(); }
  [[nodiscard]] std::optional<Abort> take_failure() override {
    return phase_ == Phase::kComplained ? pending_failure_ : std::nullopt;
  }

 private:
  // Named after what is waited for.
  enum class Phase { kStart, kOpenings, kDeals, kVerdicts, kFinished, kComplained, kDead };
  enum Round : std::uint8_t { kOpeningRound = 1, kDealRound = 2, kVerdictRound = 3 };

  // Not inlined, so that burn_stack() reaches their frames.
  [[gnu::noinline]] Result<Messages> do_start(std::span<const SetMember> set,
                                              const Digest& binding);
  [[gnu::noinline]] Result<Messages> do_receive(ParticipantIndex from, std::uint8_t round,
                                                ByteView payload);
  Result<Messages> settle(Result<Messages> result);
  void die() noexcept;
  void forget_secrets() noexcept;
  Result<void> advance(Messages& out);

  Result<void> send_openings(Messages& out);
  Result<void> check_openings();
  Result<void> aggregate();
  Result<void> send_deals(Messages& out);
  Result<std::vector<ByteVector>> check_deals();
  /// Our share, or a complaint in `out` and pending_failure_.
  Result<void> open_deals(const std::vector<ByteVector>& ciphertexts, Messages& out);
  Result<void> confirm(Messages& out);
  /// Finishes when all are here and right.
  Result<void> check_verdicts();
  Result<void> judge(ParticipantIndex accuser, const DkgComplaint& complaint) const;
  Result<void> finish();

  // Position of an index in every per-participant list.
  [[nodiscard]] std::size_t slot(ParticipantIndex index) const {
    return static_cast<std::size_t>(std::ranges::lower_bound(parameters_.participants, index) -
                                    parameters_.participants.begin());
  }
  [[nodiscard]] std::size_t extra_limit() const {
    return extension_ ? extension_->round2_limit() : 0;
  }
  [[nodiscard]] std::size_t longest_payload() const;
  [[nodiscard]] static std::vector<ByteVector> encode_all(std::span<const Point> points) {
    std::vector<ByteVector> out;
    for (const Point& point : points) {
      out.push_back(to_vector(Group::encode(point)));
    }
    return out;
  }
  template <class Predicate>
  [[nodiscard]] Result<void> require_of_all(Predicate holds, const char* otherwise) const {
    Abort abort{AbortClass::kAttributable, {}, otherwise};
    for (const ParticipantIndex peer : inbox_.peers()) {
      if (!holds(peer)) {
        abort.culprits.push_back(peer);
      }
    }
    if (!abort.culprits.empty()) {
      return std::unexpected(std::move(abort));
    }
    return {};
  }

  KeygenParameters parameters_;
  std::unique_ptr<DkgExtension> extension_;
  Random* random_;
  Inbox inbox_;
  Phase phase_ = Phase::kStart;
  ByteVector hello_;
  Digest sid_;

  // Ours, secret until dealt or forever.
  std::optional<SecretPolynomial<Group>> polynomial_;
  X25519SecretKey encryption_key_;
  std::vector<SecretBytes<32>> shared_;  // X25519 with each participant; our own slot is unused
  SecretScalar share_;                   // f_i(i), then s_i

  // Public, one for each participant, in the order of indices.
  std::vector<DkgHello> hellos_;
  std::vector<ByteVector> hello_bytes_;
  std::vector<std::vector<Point>> vectors_;
  std::vector<Bytes<32>> chain_code_shares_;
  std::vector<ByteVector> openings_;
  std::vector<DkgDeal> deals_;
  std::vector<ByteVector> deal_bytes_;
  std::vector<Point> public_shares_;

  Bytes<32> chain_code_share_;
  Bytes<32> blinding_;
  std::vector<Point> own_vector_;
  std::vector<Point> vector_;  // F
  Digest aggregate_;
  Digest chain_code_;
  Digest transcript_;
  std::optional<Abort> pending_failure_;
  std::optional<Outcome> outcome_;
};

}  // namespace cosigner

#include "crypto/dkg/dkg_progress.h"  // IWYU pragma: export
#include "crypto/dkg/dkg_rounds.h"    // IWYU pragma: export
#include "crypto/dkg/dkg_verdicts.h"  // IWYU pragma: export
