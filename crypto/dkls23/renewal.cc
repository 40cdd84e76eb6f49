#include "crypto/dkls23/renewal.h"

#include <algorithm>

#include "crypto/base/burn_stack.h"
#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"
#include "crypto/dkg/share_box.h"
#include "crypto/protocol/key_share.h"
#include "crypto/protocol/or_die.h"
#include "crypto/secp256k1/group.h"

namespace cosigner::dkls23 {

namespace {
constexpr std::size_t kNonceSize = 32;
constexpr std::size_t kHelloSize = kNonceSize + X25519PublicKey::kSize;
constexpr std::size_t kSealedAnswerBytes = kSetupAnswerBytes + kAeadTagSize;

std::vector<ParticipantIndex> both(ParticipantIndex a, ParticipantIndex b) {
  return {std::min(a, b), std::max(a, b)};
}
}  // namespace

Result<std::unique_ptr<Protocol>> Renewal::make(RenewalParameters parameters, Random& random) {
  const auto share = KeyShare<Secp256k1Group>::decode(parameters.secret);
  if (!share || share->index != parameters.self) {
    return recoverable("the key share is damaged or not ours");
  }
  const auto& shares = parameters.record.public_shares;
  const auto known =
      std::ranges::find(shares, parameters.peer, &std::pair<ParticipantIndex, ByteVector>::first);
  if (known == shares.end() || parameters.peer == parameters.self) {
    return recoverable("the peer of a renewal is not another participant of the key");
  }
  return std::unique_ptr<Protocol>(new Renewal(std::move(parameters), random));
}

Renewal::Renewal(RenewalParameters parameters, Random& random)
    : parameters_(std::move(parameters)),
      random_(random),
      secret_(parameters_.secret.begin(), parameters_.secret.end()),
      encryption_key_(random_.secret<32>()),
      inbox_(parameters_.self, both(parameters_.self, parameters_.peer), 3, kSealedAnswerBytes) {
  parameters_.secret = {};
  auto nonce = random_.bytes<Bytes<kNonceSize>>();
  declassify(&nonce, sizeof nonce);  // sent with the hello
  hello_ = Writer().fixed(nonce).fixed(x25519_public_key(encryption_key_)).take();
}

Result<Messages> Renewal::finish_with(Result<Messages> result) {
  burn_stack();
  if (!result) {
    die();
  } else if (outcome_) {
    forget_secrets();
  }
  return result;
}

void Renewal::die() noexcept {
  dead_ = true;
  forget_secrets();
  burn_stack();
}

void Renewal::forget_secrets() noexcept {
  setup_.reset();
  state_.reset();
  wipe(secret_);
  encryption_key_.wipe();
  shared_.wipe();
}

Result<Messages> Renewal::start(std::span<const SetMember> set, const Digest& binding) {
  return or_die([&] { return finish_with(do_start(set, binding)); }, [this]() noexcept { die(); });
}

Result<Messages> Renewal::receive(ParticipantIndex from, std::uint8_t round, ByteView payload) {
  return or_die([&] { return finish_with(do_receive(from, round, payload)); },
                [this]() noexcept { die(); });
}

Result<Messages> Renewal::do_receive(ParticipantIndex from, std::uint8_t round, ByteView payload) {
  if (dead_) {
    return recoverable("this renewal has failed already");
  }
  const Result<bool> is_new = inbox_.accept(from, round, payload);
  if (!is_new) {
    return std::unexpected(is_new.error());
  }
  return advance();
}

Result<Messages> Renewal::do_start(std::span<const SetMember> set, const Digest& binding) {
  if (started_ || dead_) {
    return recoverable("this renewal has been started or has failed already");
  }
  const std::vector<ParticipantIndex> pair = both(parameters_.self, parameters_.peer);
  if (auto checked = check_set(set, parameters_.self, hello_, pair); !checked) {
    return std::unexpected(checked.error());
  }
  if (set.size() != 2) {
    return recoverable("a renewal needs both participants");
  }
  TaggedHash sid(tag::kRenewalSid);
  sid.part_u8(kVersion).part(parameters_.context).part(binding);
  sid.part(parameters_.record.public_key).part(parameters_.record.transcript);
  for (const SetMember& member : set) {
    if (member.hello.size() != kHelloSize) {
      return malformed(member.index, "a renewal hello of the wrong length");
    }
    sid.part_u16(member.index).part(member.hello);
    if (member.index == parameters_.peer) {
      auto shared = x25519(encryption_key_,
                           *X25519PublicKey::from(ByteView(member.hello).subspan(kNonceSize)));
      if (!shared) {
        return malformed(member.index, "an encryption key of small order");
      }
      shared_ = std::move(*shared);
    }
  }
  encryption_key_.wipe();
  sid_ = sid.finish();
  echo_ = TaggedHash(tag::kRenewalEcho).part(sid_).finish();
  setup_.emplace(sid_, parameters_.self, parameters_.peer, random_);
  started_ = true;
  Messages out{{parameters_.peer, 1, Writer().fixed(echo_).fixed(setup_->first_message()).take()}};
  Result<Messages> more = advance();
  if (!more) {
    return more;
  }
  std::ranges::move(*more, std::back_inserter(out));
  return out;
}

Result<Messages> Renewal::advance() {
  Messages out;
  while (started_ && done_rounds_ < 3 &&
         inbox_.has(parameters_.peer, static_cast<std::uint8_t>(done_rounds_ + 1))) {
    Result<Messages> step = done_rounds_ == 0   ? answer()
                            : done_rounds_ == 1 ? confirm()
                                                : complete();
    if (!step) {
      return step;
    }
    ++done_rounds_;
    std::ranges::move(*step, std::back_inserter(out));
  }
  return out;
}

Result<Messages> Renewal::answer() {
  Reader reader(inbox_.payload(parameters_.peer, 1));
  const Digest echo = reader.take<Digest>();
  const ByteView first = reader.fixed(kSetupFirstBytes);
  if (!reader.finished()) {
    return malformed(parameters_.peer, "a renewal message of the wrong length");
  }
  if (echo != echo_) {
    return recoverable("the peer saw another renewal than we");
  }
  const Result<SecretVector> made = setup_->answer(first, random_);
  if (!made) {
    return std::unexpected(made.error());
  }
  const ShareRoute route{sid_, parameters_.self, parameters_.peer, tag::kRenewalShareKey};
  return Messages{{parameters_.peer, 2, seal_share(shared_, route, as_view(*made))}};
}

Result<Messages> Renewal::confirm() {
  const ShareRoute route{sid_, parameters_.peer, parameters_.self, tag::kRenewalShareKey};
  const std::optional<SecretVector> theirs =
      open_share(shared_, route, inbox_.payload(parameters_.peer, 2));
  if (!theirs) {
    return malformed(parameters_.peer, "a renewal answer that does not open");
  }
  if (observer_ != nullptr) {
    observer_->checking(parameters_.peer);
  }
  Result<PairState> state = setup_->finish(as_view(*theirs));
  if (!state) {
    if (observer_ != nullptr && state.error().abort_class != AbortClass::kBurn) {
      observer_->checked(parameters_.peer);
    }
    return std::unexpected(state.error());
  }
  if (observer_ != nullptr) {
    observer_->checked(parameters_.peer);
  }
  state_ = std::move(*state);
  return Messages{{parameters_.peer, 3, to_vector(state_->id)}};
}

Result<Messages> Renewal::complete() {
  if (!std::ranges::equal(inbox_.payload(parameters_.peer, 3), state_->id.view())) {
    return malformed(parameters_.peer, "the peer finished another renewal than we");
  }
  std::optional<SecretVector> secret =
      replace_pair(as_view(secret_), parameters_.peer, std::move(*state_));
  if (!secret) {
    return recoverable("the key's OT state is damaged");
  }
  outcome_ = KeyOutcome{parameters_.record, std::move(*secret)};
  return Messages{};
}

}  // namespace cosigner::dkls23
