#pragma once
// FROST signing as a Protocol.
//
//   hello (round 0)  everyone → everyone   D ‖ E
//   start            the set names exactly t signers; each computes z_i at once
//   round 1          signer → assembler    digest of what it started with, z_i
//
// The assembler sends nothing; with all t shares it aggregates, verifies, and only then has an
// outcome. The nonces die in start(), before the share leaves this object: a second start() finds
// none. `binding` and `context` do not enter RFC 9591's hashes, which would break its test vectors
// and gain nothing: ρ already binds message, key and the whole list, and the engine's envelopes
// bind the messages to session and attempt.
//
// Aborts: own hello altered, wrong set → recoverable; a commitment or share that does not decode →
// recoverable, naming its sender; a share for another start than the assembler's → recoverable,
// naming nobody; a share that does not verify → attributable, naming all culprits.

#include <memory>
#include <utility>

#include "crypto/base/burn_stack.h"
#include "crypto/frost/session.h"
#include "crypto/frost/share_message.h"
#include "crypto/protocol/inbox.h"
#include "crypto/protocol/key_share.h"
#include "crypto/protocol/or_die.h"
#include "crypto/protocol/protocol.h"

namespace cosigner {

template <FrostSuite Suite>
class FrostSigning final : public Protocol {
 public:
  using Group = typename Suite::Group;
  using Session = FrostSession<Suite>;

  /// `parameters` as checked by make_sign(); refuses a key record or share that does not decode.
  [[nodiscard]] static Result<std::unique_ptr<Protocol>> make(SignParameters parameters,
                                                              Random& random) {
    auto share = KeyShare<Group>::decode(parameters.secret);
    if (!share || !share->state.empty() || share->index != parameters.self) {
      return recoverable("the key share is damaged or not ours");
    }
    const auto public_key = Bytes<Group::kPointSize>::from(parameters.record.public_key);
    if (!public_key) {
      return recoverable("the key record's public key has the wrong length");
    }
    parameters.secret = {};
    std::unique_ptr<Protocol> out(
        new FrostSigning(std::move(parameters), *public_key, std::move(share->share), random));
    burn_stack();
    return out;
  }

  [[nodiscard]] const ByteVector& hello() const override { return hello_; }

  [[nodiscard]] Result<Messages> start(std::span<const SetMember> set,
                                       const Digest& binding) override {
    return or_die([&] { return finish_with(do_start(set, binding)); },
                  [this]() noexcept { die(); });
  }

  [[nodiscard]] Result<Messages> receive(ParticipantIndex from, std::uint8_t round,
                                         ByteView payload) override {
    return or_die([&] { return finish_with(do_receive(from, round, payload)); },
                  [this]() noexcept { die(); });
  }

  [[nodiscard]] std::optional<Outcome> take_outcome() override {
    return std::exchange(outcome_, std::nullopt);
  }
  [[nodiscard]] std::size_t payload_limit() const override { return inbox_.payload_limit(); }

 private:
  FrostSigning(SignParameters parameters, const Bytes<Group::kPointSize>& public_key,
               typename Group::SecretScalar share, Random& random)
      : parameters_(std::move(parameters)),
        public_key_(public_key),
        share_(std::move(share)),
        nonce_(FrostNonce<Suite>::generate(share_, random)),
        hello_(nonce_->commitments().encode()),
        participants_(participants_of(parameters_.record)),
        inbox_(parameters_.self, participants_, is_assembler() ? 1 : 0,
               FrostShareMessage<Suite>::kEncodedSize) {}

  [[nodiscard]] bool is_assembler() const { return parameters_.assembler == parameters_.self; }

  // The end of every call: a failure is final, and nothing secret outlives it.
  Result<Messages> finish_with(Result<Messages> result) {
    burn_stack();  // libsodium leaves summands there: z without the nonce is the share
    if (!result) {
      die();
    }
    return result;
  }

  void die() noexcept {
    dead_ = true;
    nonce_.reset();
    share_ = {};
    session_.reset();
    inbox_.clear();
    burn_stack();
  }

  // Not inlined, so that burn_stack() reaches its frame.
  [[gnu::noinline]] Result<Messages> do_start(std::span<const SetMember> set,
                                              const Digest& binding) {
    if (dead_ || !nonce_) {
      return recoverable("this signing attempt has been started or has failed already");
    }
    if (auto checked = check_set(set, parameters_.self, hello_, participants_); !checked) {
      return std::unexpected(checked.error());
    }
    if (set.size() != parameters_.record.threshold) {
      return recoverable("the set is not of exactly t signers");
    }
    if (std::ranges::find(set, parameters_.assembler, &SetMember::index) == set.end()) {
      return recoverable("the assembler is not in the set");
    }
    std::vector<typename Session::Signer> signers;
    for (const SetMember& member : set) {
      auto commitments = FrostCommitments<Suite>::decode(member.hello, member.index);
      if (!commitments) {
        return std::unexpected(commitments.error());
      }
      signers.push_back({member.index, *commitments});
    }
    FrostNonce<Suite> nonce = std::move(*nonce_);
    nonce_.reset();
    auto signed_share = Session::sign(public_key_, std::move(signers), parameters_.message,
                                      parameters_.self, share_, std::move(nonce));
    share_ = {};
    if (!signed_share) {
      return std::unexpected(signed_share.error());
    }
    inbox_.restrict_to(set);
    view_ = frost_view(parameters_.context, binding, set);
    if (!is_assembler()) {
      return Messages{{parameters_.assembler, FrostShareMessage<Suite>::kRound,
                       FrostShareMessage<Suite>{view_, signed_share->z}.encode()}};
    }
    session_.emplace(std::move(signed_share->session));
    own_z_ = signed_share->z;
    return assemble_when_complete();
  }

  Result<Messages> do_receive(ParticipantIndex from, std::uint8_t round, ByteView payload) {
    if (dead_) {
      return recoverable("this signing attempt has failed already");
    }
    const auto is_new = inbox_.accept(from, round, payload);
    if (!is_new) {
      return std::unexpected(is_new.error());
    }
    // Decoded at once as well, so that a bad share is not waiting for the others' to be blamed.
    if (auto message = FrostShareMessage<Suite>::decode(payload, from); !message) {
      return std::unexpected(message.error());
    }
    return assemble_when_complete();
  }

  Result<Messages> assemble_when_complete() {
    if (!session_ || !inbox_.complete(FrostShareMessage<Suite>::kRound)) {
      return Messages{};
    }
    std::vector<typename Session::SignatureShare> shares{{parameters_.self, own_z_}};
    for (const ParticipantIndex peer : inbox_.peers()) {
      const auto message = FrostShareMessage<Suite>::decode(
          inbox_.payload(peer, FrostShareMessage<Suite>::kRound), peer);
      if (!message) {
        return std::unexpected(message.error());
      }
      if (message->view != view_) {
        return recoverable("participant " + std::to_string(peer) + " saw another session than we");
      }
      shares.push_back({peer, message->z});
    }
    std::ranges::sort(shares, {}, &Session::SignatureShare::index);
    auto signature =
        session_->aggregate(shares, parameters_.message, [this](ParticipantIndex index) {
          const auto& list = parameters_.record.public_shares;
          const auto found =
              std::ranges::find(list, index, &std::pair<ParticipantIndex, ByteVector>::first);
          return found == list.end() ? std::nullopt : Group::decode_point(found->second);
        });
    if (!signature) {
      return std::unexpected(signature.error());
    }
    session_.reset();
    outcome_ = SignatureOutcome{std::move(*signature)};
    return Messages{};
  }

  SignParameters parameters_;
  Bytes<Group::kPointSize> public_key_;
  typename Group::SecretScalar share_;
  std::optional<FrostNonce<Suite>> nonce_;
  ByteVector hello_;
  std::vector<ParticipantIndex> participants_;
  Inbox inbox_;
  std::optional<Session> session_;  // the assembler's, between start and outcome
  Digest view_;
  typename Group::Scalar own_z_;
  std::optional<Outcome> outcome_;
  bool dead_ = false;
};

}  // namespace cosigner
