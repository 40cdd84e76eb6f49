#pragma once
// New OT state for one pair: base OT, PPRF and zero seed, as in key generation, between two
// participants.
//
//   hello    nonce ‖ X25519 key made for this renewal alone
//   round 1  echo ‖ first message of the set-up
//   round 2  answer of the set-up, encrypted between the two hello keys like a dealt share
//   round 3  the new pair id: "mine is finished"
//
// Only with the peer's round 3 does a participant have its outcome. If the last message is lost,
// one of the two keeps its old state or none; the pair ids then differ, signing refuses before it
// touches OT, and the renewal is run again.

#include "crypto/base/seal.h"
#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/pair_setup.h"
#include "crypto/protocol/inbox.h"

namespace cosigner::dkls23 {

class Renewal final : public Protocol {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Protocol>> make(RenewalParameters parameters,
                                                              Random& random);

  [[nodiscard]] const ByteVector& hello() const override { return hello_; }
  [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                       const Digest& binding) override;
  [[nodiscard]] Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                         ByteView payload) override;
  [[nodiscard]] std::optional<Outcome> take_outcome() override {
    return std::exchange(outcome_, std::nullopt);
  }
  void observe_checks(CheckObserver* observer) override { observer_ = observer; }
  [[nodiscard]] std::size_t payload_limit() const override { return inbox_.payload_limit(); }

 private:
  Renewal(RenewalParameters parameters, Random& random);
  Result<Messages> finish_with(Result<Messages> result);
  Result<Messages> do_start(std::span<const SetMember> set, const Digest& binding);
  Result<Messages> do_receive(ParticipantIndex from, std::uint8_t round, ByteView payload);
  void die() noexcept;
  void forget_secrets() noexcept;
  Result<Messages> advance();
  Result<Messages> answer();
  Result<Messages> confirm();
  Result<Messages> complete();

  RenewalParameters parameters_;
  Random& random_;
  CheckObserver* observer_ = nullptr;
  SecretVector secret_;
  X25519SecretKey encryption_key_;
  SecretBytes<32> shared_;  ///< X25519 with the peer, once started
  Digest sid_;
  ByteVector hello_;
  Inbox inbox_;
  Digest echo_;
  std::optional<PairSetup> setup_;
  std::optional<PairState> state_;
  std::uint8_t done_rounds_ = 0;
  bool started_ = false;
  bool dead_ = false;
  std::optional<Outcome> outcome_;
};

}  // namespace cosigner::dkls23
