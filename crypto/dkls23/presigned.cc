#include "crypto/dkls23/presigned.h"

#include <algorithm>

#include "crypto/base/burn_stack.h"
#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"
#include "crypto/protocol/or_die.h"

namespace cosigner::dkls23 {

using secp256k1::MessageDigest;
using secp256k1::Point;

Result<std::unique_ptr<Protocol>> PresignedSigning::make(SignParameters parameters,
                                                         const MessageDigest& message,
                                                         Presignature presignature,
                                                         const Bytes<32>& nonce) {
  // A share made from another key's presignature would help to sign the message under that key.
  if (presignature.key() != presigned_key(parameters.record)) {
    return recoverable("the presignature was made for another key or epoch");
  }
  Result<bip32::Derived> derived = bip32::derive(parameters.record, parameters.path);
  if (!derived) {
    return std::unexpected(derived.error());
  }
  parameters.secret = {};
  return std::unique_ptr<Protocol>(new PresignedSigning(std::move(parameters), message, *derived,
                                                        std::move(presignature), nonce));
}

PresignedSigning::PresignedSigning(SignParameters parameters, const MessageDigest& message,
                                   bip32::Derived derived, Presignature presignature,
                                   const Bytes<32>& nonce)
    : parameters_(std::move(parameters)),
      message_(message),
      derived_(derived),
      presignature_(std::move(presignature)),
      inbox_(parameters_.self, presignature_->signers(),
             parameters_.self == parameters_.assembler ? kRound : 0, SignLastRound::kEncodedSize) {
  Bytes<32> sent = nonce;
  declassify(&sent, sizeof sent);  // it went out with a hello
  hello_ = presigned_hello(presignature_->id(), sent);
}

Result<Messages> PresignedSigning::finish_with(Result<Messages> result) {
  burn_stack();
  if (!result) {
    die();
  }
  return result;
}

void PresignedSigning::die() noexcept {
  dead_ = true;
  presignature_.reset();
  nonce_.reset();
  burn_stack();
}

Result<Messages> PresignedSigning::start(std::span<const SetMember> set, const Digest& binding) {
  return or_die([&] { return finish_with(do_start(set, binding)); }, [this]() noexcept { die(); });
}

Result<Messages> PresignedSigning::receive(ParticipantIndex from, std::uint8_t round,
                                           ByteView payload) {
  return or_die([&] { return finish_with(do_receive(from, round, payload)); },
                [this]() noexcept { die(); });
}

Result<Messages> PresignedSigning::do_receive(ParticipantIndex from, std::uint8_t round,
                                              ByteView payload) {
  if (dead_) {
    return recoverable("this signing attempt has failed already");
  }
  const Result<bool> is_new = inbox_.accept(from, round, payload);
  if (!is_new) {
    return std::unexpected(is_new.error());
  }
  return assemble_when_complete();
}

Result<void> PresignedSigning::check_hellos(std::span<const SetMember> set) const {
  const std::vector<ParticipantIndex>& signers = presignature_->signers();
  if (auto checked = check_set(set, parameters_.self, hello_, signers); !checked) {
    return checked;
  }
  if (set.size() != signers.size()) {
    return recoverable("the set is not the presignature's");
  }
  if (std::ranges::find(set, parameters_.assembler, &SetMember::index) == set.end()) {
    return recoverable("the assembler is not in the set");
  }
  for (const SetMember& member : set) {
    if (member.hello.size() != kPresignedHelloBytes) {
      return malformed(member.index, "a signing hello of the wrong length");
    }
    if (!std::ranges::equal(ByteView(member.hello).first(32), presignature_->id().view())) {
      return recoverable("participant " + std::to_string(member.index) +
                         " holds another presignature");
    }
  }
  return {};
}

Result<Messages> PresignedSigning::do_start(std::span<const SetMember> set, const Digest& binding) {
  if (dead_ || !presignature_) {
    return recoverable("this signing attempt has been started or has failed already");
  }
  if (auto checked = check_hellos(set); !checked) {
    return std::unexpected(checked.error());
  }
  // From here on the presignature is gone, whatever happens.
  Presignature presignature = std::move(*presignature_);
  presignature_.reset();

  TaggedHash hash(tag::kSignRerandomise);
  hash.part_u8(kVersion).part(parameters_.context).part(binding);
  hash.part(parameters_.record.public_key).part(parameters_.record.transcript);
  hash.part(derived_.key.encode()).part(presignature.nonce().encode()).part(message_);
  for (const SetMember& member : set) {
    hash.part_u16(member.index).part(member.hello);
  }
  const Digest digest = hash.part_u16(parameters_.assembler).finish();
  const Scalar shift = Scalar::reduce(digest);
  echo_ = TaggedHash(tag::kPresignedEcho).part(digest).finish();

  nonce_ = presignature.nonce().plus_generator_times_vartime(shift);
  const std::optional<NoncePoint> point = nonce_ ? nonce_point(*nonce_) : std::nullopt;
  if (!point) {
    return unattributable("the re-randomised nonce is nothing");
  }
  own_share_ =
      SignatureShare::make(std::move(presignature), message_, derived_.tweak, shift, point->x);
  if (parameters_.self != parameters_.assembler) {
    return Messages{{parameters_.assembler, kRound, SignLastRound{echo_, own_share_}.encode()}};
  }
  return assemble_when_complete();
}

Result<Messages> PresignedSigning::assemble_when_complete() {
  if (!nonce_ || outcome_ || !inbox_.complete(kRound) ||
      parameters_.self != parameters_.assembler) {
    return Messages{};
  }
  const auto shares = collect_shares(inbox_, kRound, echo_, own_share_);
  if (!shares) {
    return std::unexpected(shares.error());
  }
  const auto signature = assemble(*nonce_, *shares, message_, derived_.key);
  if (!signature) {
    return std::unexpected(signature.error());
  }
  outcome_ = SignatureOutcome{signature->encode()};
  nonce_.reset();
  return Messages{};
}

}  // namespace cosigner::dkls23
