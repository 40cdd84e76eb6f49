#pragma once
// Signing and presigning: DKLs23 (ePrint 2023/765) protocol 3.6 with the nonces and commitments in
// the rendezvous.
//
// Order of checks, which decides what a failure costs (crypto/base/abort.h):
//   start    own hello, set of exactly t, lengths, OT state with everyone      recoverable
//   round 1  all lengths, echoes and pair ids, before any OT payload           recoverable
//            OT extension                                                      burn
//   round 2  all encodings and echoes                                          recoverable
//            commitments to R_j                                                attributable
//            VOLE, then χ·R_j = d^u·G + Γ^u and χ·pk_j = d^v·G + Γ^v           burn
//            Σpk_j = pk, ΣR_j not the identity, r_x not zero                   unattributable
//   round 3  encodings, echoes                                                 recoverable
//            the signature                                                     unattributable
// Nothing of a round leaves before all checks of the round before have passed. Because the echo
// covers every hello, a third party that tells two honest ones different things cannot make them
// fail each other's OT checks.

#include <map>

#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/key_state.h"
#include "crypto/dkls23/sign_messages.h"
#include "crypto/protocol/inbox.h"

namespace cosigner::dkls23 {

class Signing final : public PresignProtocol {
 public:
  /// With a message it signs; without one it presigns.
  [[nodiscard]] static Result<std::unique_ptr<Signing>> make(
      SignParameters parameters, std::optional<secp256k1::MessageDigest> message, Random& random);

  [[nodiscard]] const ByteVector& hello() const override { return hello_; }
  [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                       const Digest& binding) override;
  [[nodiscard]] Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                         ByteView payload) override;
  [[nodiscard]] std::optional<Outcome> take_outcome() override {
    return std::exchange(outcome_, std::nullopt);
  }
  [[nodiscard]] std::optional<Presignature> take_presignature() override {
    return std::exchange(presignature_, std::nullopt);
  }
  void observe_checks(CheckObserver* observer) override { observer_ = observer; }
  [[nodiscard]] std::size_t payload_limit() const override { return inbox_.payload_limit(); }

 private:
  enum class Stage : std::uint8_t { kCreated, kRound1, kRound2, kRound3, kDone, kDead };

  /// One counterparty between the rounds.
  struct Peer {
    Digest commitment;
    Digest pair;
    SenderState sender;
    ReceiverState leaves;
    SecretBytes<32> zero_seed;
    std::optional<VoleReceiver> receiver;
    ScalarPair c;  ///< c^u, c^v of our VOLE towards it
  };
  /// Everything that must not outlive a failure or the last share.
  struct Secrets {
    SecretScalar share;
    SecretVector states;  ///< encoded, until the set is known
    SecretScalar r;
    SecretScalar phi;
    SecretScalar key_share;  ///< sk_i
    std::map<ParticipantIndex, Peer> peers;
  };
  using Rounds2 = std::map<ParticipantIndex, SignRound2>;

  Signing(SignParameters parameters, std::optional<secp256k1::MessageDigest> message,
          bip32::Derived derived, Random& random);

  [[nodiscard]] bool is_assembler() const { return parameters_.assembler == parameters_.self; }
  Result<Messages> finish_with(Result<Messages> result);
  Result<Messages> do_start(std::span<const SetMember> set, const Digest& binding);
  Result<Messages> do_receive(ParticipantIndex from, std::uint8_t round, ByteView payload);
  void die() noexcept;
  Result<void> load_peers(std::span<const SetMember> set);
  void make_key_share();
  Result<Messages> advance();
  Result<Messages> round2();
  Result<Messages> round3();
  Result<Rounds2> read_rounds2();
  Result<void> check_sums(const Rounds2& messages);
  Result<Messages> assemble_signature();
  Digest commitment_of(ParticipantIndex index, const secp256k1::Point& nonce,
                       const Bytes<32>& nonce_bytes, const Bytes<32>& blinding) const;

  SignParameters parameters_;
  std::optional<secp256k1::MessageDigest> message_;
  bip32::Derived derived_;  ///< the key signed for
  Random& random_;
  CheckObserver* observer_ = nullptr;

  Digest context_;  ///< ctx: everything agreed before the rendezvous
  std::optional<Secrets> secrets_;
  SignHello own_hello_;
  Bytes<32> blinding_;
  std::optional<secp256k1::Point> own_nonce_;
  std::optional<secp256k1::Point> own_key_share_;
  ByteVector hello_;

  std::vector<ParticipantIndex> signers_;
  std::map<ParticipantIndex, Bytes<32>> nonces_;
  Digest sid_;
  Digest echo_;
  std::optional<Gadget> gadget_;
  Inbox inbox_;
  Stage stage_ = Stage::kCreated;
  std::optional<secp256k1::Point> nonce_sum_;  ///< R
  SignatureShare own_share_;
  std::optional<Presignature> presignature_;
  std::optional<Outcome> outcome_;
};

}  // namespace cosigner::dkls23
