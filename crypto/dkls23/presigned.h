#pragma once
// Signing with a presignature: one round after the rendezvous, which carries each signer's fresh
// nonce. The nonce point is shifted by δ = Hq(tag; …, key, R, digest, signers, all fresh nonces),
// which nobody can predict before the message is fixed; without it, presignatures together with
// additive key derivation would lose security (Groth and Shoup, ePrint 2021/1330, §5).

#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/sign_messages.h"
#include "crypto/protocol/inbox.h"

namespace cosigner::dkls23 {

class PresignedSigning final : public Protocol {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Protocol>> make(
      SignParameters parameters, const secp256k1::MessageDigest& message, Presignature presignature,
      const Bytes<32>& nonce);

  [[nodiscard]] const ByteVector& hello() const override { return hello_; }
  [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                       const Digest& binding) override;
  [[nodiscard]] Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                         ByteView payload) override;
  [[nodiscard]] std::optional<Outcome> take_outcome() override {
    return std::exchange(outcome_, std::nullopt);
  }
  [[nodiscard]] std::size_t payload_limit() const override { return inbox_.payload_limit(); }

 private:
  static constexpr std::uint8_t kRound = 1;

  PresignedSigning(SignParameters parameters, const secp256k1::MessageDigest& message,
                   bip32::Derived derived, Presignature presignature, const Bytes<32>& nonce);
  Result<Messages> finish_with(Result<Messages> result);
  Result<Messages> do_start(std::span<const SetMember> set, const Digest& binding);
  Result<Messages> do_receive(ParticipantIndex from, std::uint8_t round, ByteView payload);
  void die() noexcept;
  Result<void> check_hellos(std::span<const SetMember> set) const;
  Result<Messages> assemble_when_complete();

  SignParameters parameters_;
  secp256k1::MessageDigest message_;
  bip32::Derived derived_;
  std::optional<Presignature> presignature_;
  ByteVector hello_;
  Inbox inbox_;
  Digest echo_;
  std::optional<secp256k1::Point> nonce_;  ///< R' = R + δG, once started
  SignatureShare own_share_;
  std::optional<Outcome> outcome_;
  bool dead_ = false;
};

}  // namespace cosigner::dkls23
