#include "crypto/dkls23/signing.h"

#include <algorithm>

#include "crypto/base/burn_stack.h"
#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"
#include "crypto/dkls23/products.h"
#include "crypto/dkls23/zero_share.h"
#include "crypto/frost/lagrange.h"
#include "crypto/protocol/key_share.h"
#include "crypto/protocol/or_die.h"
#include "crypto/secp256k1/group.h"

namespace cosigner::dkls23 {

using secp256k1::Point;

namespace {

constexpr std::uint8_t kLastRound = 3;

}  // namespace

Result<std::unique_ptr<Signing>> Signing::make(SignParameters parameters,
                                               std::optional<secp256k1::MessageDigest> message,
                                               Random& random) {
  auto share = KeyShare<Secp256k1Group>::decode(parameters.secret);
  if (!share || share->index != parameters.self) {
    return recoverable("the key share is damaged or not ours");
  }
  Result<bip32::Derived> derived = bip32::derive(parameters.record, parameters.path);
  if (!derived) {
    return std::unexpected(derived.error());
  }
  parameters.secret = {};
  std::unique_ptr<Signing> out(new Signing(std::move(parameters), message, *derived, random));
  out->secrets_->share = std::move(share->share);
  out->secrets_->states = std::move(share->state);
  return out;
}

Signing::Signing(SignParameters parameters, std::optional<secp256k1::MessageDigest> message,
                 bip32::Derived derived, Random& random)
    : parameters_(std::move(parameters)),
      message_(message),
      derived_(derived),
      random_(random),
      inbox_(parameters_.self, participants_of(parameters_.record), kLastRound,
             SignRound2::kEncodedSize) {
  TaggedHash context(tag::kSignContext);
  context.part_u8(kVersion).part(parameters_.context).part(parameters_.record.public_key);
  context.part(parameters_.record.chain_code).part(parameters_.record.transcript);
  for (const std::uint32_t index : parameters_.path) {
    context.part_u32(index);
  }
  context.part(derived_.key.encode()).part(message_ ? "sign" : "presign");
  context.part(message_ ? message_->view() : ByteView());
  context_ = context.part_u16(parameters_.assembler).finish();

  Secrets& secrets = secrets_.emplace();
  secrets.r = SecretScalar::random(random_);
  secrets.phi = SecretScalar::random(random_);
  own_nonce_ = published_product(secrets.r);
  own_hello_.nonce = random_.bytes<Bytes<32>>();
  blinding_ = random_.bytes<Bytes<32>>();
  declassify(&own_hello_.nonce, sizeof own_hello_.nonce);  // sent with the hello
  declassify(&blinding_, sizeof blinding_);                // sent in round 2
  own_hello_.commitment = commitment_of(parameters_.self, *own_nonce_, own_hello_.nonce, blinding_);
  hello_ = own_hello_.encode();
}

Digest Signing::commitment_of(ParticipantIndex index, const Point& nonce,
                              const Bytes<32>& nonce_bytes, const Bytes<32>& blinding) const {
  return TaggedHash(tag::kSignCommitment)
      .part(context_)
      .part_u16(index)
      .part(nonce_bytes)
      .part(nonce.encode())
      .part(blinding)
      .finish();
}

void Signing::die() noexcept {
  stage_ = Stage::kDead;
  presignature_.reset();
  secrets_.reset();
  gadget_.reset();
  burn_stack();
}

Result<Messages> Signing::finish_with(Result<Messages> result) {
  burn_stack();
  if (!result) {
    die();
  } else if (stage_ == Stage::kDone || stage_ == Stage::kRound3) {
    secrets_.reset();
    gadget_.reset();
  }
  return result;
}

Result<Messages> Signing::start(std::span<const SetMember> set, const Digest& binding) {
  return or_die([&] { return finish_with(do_start(set, binding)); }, [this]() noexcept { die(); });
}

Result<Messages> Signing::receive(ParticipantIndex from, std::uint8_t round, ByteView payload) {
  return or_die([&] { return finish_with(do_receive(from, round, payload)); },
                [this]() noexcept { die(); });
}

Result<Messages> Signing::do_receive(ParticipantIndex from, std::uint8_t round, ByteView payload) {
  if (stage_ == Stage::kDead) {
    return recoverable("this signing attempt has failed already");
  }
  const Result<bool> is_new = inbox_.accept(from, round, payload);
  if (!is_new) {
    return std::unexpected(is_new.error());
  }
  return advance();
}

Result<Messages> Signing::do_start(std::span<const SetMember> set, const Digest& binding) {
  if (stage_ != Stage::kCreated) {
    return recoverable("this signing attempt has been started or has failed already");
  }
  const std::vector<ParticipantIndex> participants = participants_of(parameters_.record);
  if (auto checked = check_set(set, parameters_.self, hello_, participants); !checked) {
    return std::unexpected(checked.error());
  }
  if (set.size() != parameters_.record.threshold) {
    return recoverable("the set is not of exactly t signers");
  }
  if (std::ranges::find(set, parameters_.assembler, &SetMember::index) == set.end()) {
    return recoverable("the assembler is not in the set");
  }
  if (auto loaded = load_peers(set); !loaded) {
    return std::unexpected(loaded.error());
  }
  TaggedHash sid(tag::kSignSid);
  sid.part(context_).part(binding);
  for (const SetMember& member : set) {
    signers_.push_back(member.index);
    sid.part_u16(member.index).part(member.hello);
  }
  sid_ = sid.finish();
  echo_ = TaggedHash(tag::kSignEcho).part(sid_).finish();
  gadget_.emplace(sid_);
  make_key_share();
  inbox_.restrict_to(set);

  Messages out;
  for (auto& [index, peer] : secrets_->peers) {
    out.push_back({index, SignRound1::kRound,
                   SignRound1{echo_, peer.pair, peer.receiver->message()}.encode()});
  }
  stage_ = Stage::kRound1;
  Result<Messages> more = advance();  // messages that came early
  if (!more) {
    return more;
  }
  std::ranges::move(*more, std::back_inserter(out));
  return out;
}

Result<void> Signing::load_peers(std::span<const SetMember> set) {
  std::vector<ParticipantIndex> indices;
  for (const SetMember& member : set) {
    indices.push_back(member.index);
  }
  auto states = decode_states(as_view(secrets_->states), indices);
  if (!states) {
    return recoverable("the key's OT state is damaged");
  }
  wipe(secrets_->states);
  for (const SetMember& member : set) {
    const Result<SignHello> hello = SignHello::decode(member.hello, member.index);
    if (!hello) {
      return std::unexpected(hello.error());
    }
    nonces_[member.index] = hello->nonce;
    if (member.index == parameters_.self) {
      continue;
    }
    const auto state = states->find(member.index);
    if (state == states->end()) {
      return recoverable("there is no OT state with participant " + std::to_string(member.index) +
                         ": its renewal comes first");
    }
    Peer& peer = secrets_->peers[member.index];
    peer.commitment = hello->commitment;
    peer.pair = state->second.id;
    peer.sender = std::move(state->second.sender);
    peer.zero_seed = std::move(state->second.zero_seed);
    peer.leaves = std::move(state->second.receiver);
  }
  return {};
}

void Signing::make_key_share() {
  // sk_i = λ_i·(s_i + τ) + ζ_i: Σλ_i = 1 brings the tweak in once, Σζ_i = 0.
  const Scalar lambda = lagrange_vartime<Secp256k1Group>(signers_, parameters_.self);
  secrets_->key_share = lambda * (secrets_->share + derived_.tweak);
  for (auto& [index, peer] : secrets_->peers) {
    secrets_->key_share =
        secrets_->key_share + zero_share(peer.zero_seed, sid_, parameters_.self, index);
    peer.receiver.emplace(direction_sid(sid_, index, parameters_.self), *gadget_, peer.leaves,
                          random_);
    peer.leaves = {};
  }
  secrets_->share = {};
  own_key_share_ = published_product(secrets_->key_share);
}

Result<Messages> Signing::advance() {
  if (stage_ == Stage::kRound1 && inbox_.complete(SignRound1::kRound)) {
    Result<Messages> out = round2();
    if (!out) {
      return out;
    }
    Result<Messages> more = advance();
    if (more) {
      std::ranges::move(*more, std::back_inserter(*out));
      return out;
    }
    return more;
  }
  if (stage_ == Stage::kRound2 && inbox_.complete(SignRound2::kRound)) {
    return round3();
  }
  if (stage_ == Stage::kRound3 && inbox_.complete(kLastRound)) {
    return assemble_signature();
  }
  return Messages{};
}

Result<Messages> Signing::round2() {
  std::map<ParticipantIndex, SignRound1> messages;
  for (const auto& [index, peer] : secrets_->peers) {
    const Result<SignRound1> message =
        SignRound1::decode(inbox_.payload(index, SignRound1::kRound), index);
    if (!message) {
      return std::unexpected(message.error());
    }
    if (message->echo != echo_) {
      return recoverable("participant " + std::to_string(index) + " saw another session than we");
    }
    if (message->pair != peer.pair) {
      return recoverable("participant " + std::to_string(index) +
                         " holds another OT set-up with us: it must be renewed");
    }
    messages.emplace(index, *message);
  }
  Messages out;
  for (auto& [index, peer] : secrets_->peers) {
    if (observer_ != nullptr) {
      observer_->checking(index);
    }
    std::expected<VoleSent, Refusal> sent =
        vole_send(direction_sid(sid_, parameters_.self, index), *gadget_, peer.sender,
                  messages.at(index).ot_message, secrets_->r, secrets_->key_share, random_);
    if (!sent) {
      return burn(index, "an OT extension check failed");
    }
    if (observer_ != nullptr) {
      observer_->checked(index);
    }
    const Scalar psi = (secrets_->phi - peer.receiver->b()).reveal();
    const SignRound2 message{echo_,
                             *own_nonce_,
                             blinding_,
                             *own_key_share_,
                             published_product(sent->c[0]),
                             published_product(sent->c[1]),
                             psi,
                             sent->message};
    peer.c = std::move(sent->c);
    out.push_back({index, SignRound2::kRound, message.encode()});
  }
  // Only now, with the stage: nothing in between can look at a sender that is wiped already.
  for (auto& [index, peer] : secrets_->peers) {
    peer.sender = {};
  }
  stage_ = Stage::kRound2;
  return out;
}

Result<Signing::Rounds2> Signing::read_rounds2() {
  Rounds2 out;
  for (const auto& [index, peer] : secrets_->peers) {
    const Result<SignRound2> message =
        SignRound2::decode(inbox_.payload(index, SignRound2::kRound), index);
    if (!message) {
      return std::unexpected(message.error());
    }
    if (message->echo != echo_) {
      return recoverable("participant " + std::to_string(index) + " saw another session than we");
    }
    out.emplace(index, *message);
  }
  for (const auto& [index, message] : out) {
    if (commitment_of(index, message.nonce, nonces_.at(index), message.blinding) !=
        secrets_->peers.at(index).commitment) {
      return blame(index, "the commitment does not open to the nonce");
    }
  }
  return out;
}

Result<Messages> Signing::round3() {
  const Result<Rounds2> messages = read_rounds2();
  if (!messages) {
    return std::unexpected(messages.error());
  }
  SecretScalar phi = secrets_->phi.duplicate();  // φ_i + Σψ_{ji}
  SecretScalar u;
  SecretScalar v;
  for (const auto& [index, message] : *messages) {
    Peer& peer = secrets_->peers.at(index);
    if (observer_ != nullptr) {
      observer_->checking(index);
    }
    std::expected<ScalarPair, Refusal> d = peer.receiver->finish(*gadget_, message.vole_message);
    if (!d && d.error() == Refusal::kMalformed) {
      if (observer_ != nullptr) {
        observer_->checked(index);
      }
      return malformed(index, "a VOLE message that does not parse");
    }
    // One verdict for the three checks: nobody is told which one failed. The first that fails ends
    // them, so the time until this worker falls silent tells; by then the ban is ordered, and what
    // it could learn is what its own failed guess told it.
    if (!d || !product_matches(peer.receiver->b(), message.nonce, (*d)[0], message.gamma_u) ||
        !product_matches(peer.receiver->b(), message.key_share, (*d)[1], message.gamma_v)) {
      return burn(index, "a multiplication check failed");
    }
    if (observer_ != nullptr) {
      observer_->checked(index);
    }
    phi = phi + message.psi;
    u = u + peer.c[0] + (*d)[0];
    v = v + peer.c[1] + (*d)[1];
  }
  if (auto checked = check_sums(*messages); !checked) {
    return std::unexpected(checked.error());
  }
  u = u + secrets_->r * phi;
  v = v + secrets_->key_share * phi;
  Presignature presignature(sid_, signers_, *nonce_sum_, std::move(u), std::move(v),
                            secrets_->phi.duplicate(), presigned_key(parameters_.record));
  stage_ = Stage::kDone;
  if (!message_) {
    presignature_ = std::move(presignature);
    return Messages{};
  }
  const Scalar nonce_x = nonce_point(*nonce_sum_)->x;
  own_share_ =
      SignatureShare::make(std::move(presignature), *message_, Scalar(), Scalar(), nonce_x);
  if (!is_assembler()) {
    return Messages{{parameters_.assembler, kLastRound, SignLastRound{echo_, own_share_}.encode()}};
  }
  stage_ = Stage::kRound3;
  return advance();
}

Result<void> Signing::check_sums(const Rounds2& messages) {
  std::vector<Point> nonces{*own_nonce_};
  std::vector<Point> keys{*own_key_share_};
  for (const auto& [index, message] : messages) {
    nonces.push_back(message.nonce);
    keys.push_back(message.key_share);
  }
  const std::optional<Point> key = Point::sum(keys);
  if (!key || *key != derived_.key) {
    return unattributable("the key shares do not add up to the key");
  }
  nonce_sum_ = Point::sum(nonces);
  if (!nonce_sum_ || !nonce_point(*nonce_sum_)) {
    return unattributable("the nonces add up to nothing");
  }
  return {};
}

Result<Messages> Signing::assemble_signature() {
  const auto shares = collect_shares(inbox_, kLastRound, echo_, own_share_);
  if (!shares) {
    return std::unexpected(shares.error());
  }
  const auto signature = assemble(*nonce_sum_, *shares, *message_, derived_.key);
  if (!signature) {
    return std::unexpected(signature.error());
  }
  outcome_ = SignatureOutcome{signature->encode()};
  stage_ = Stage::kDone;
  return Messages{};
}

}  // namespace cosigner::dkls23
