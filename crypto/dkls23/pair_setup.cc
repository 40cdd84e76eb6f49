#include "crypto/dkls23/pair_setup.h"

#include "crypto/base/declassify.h"

namespace cosigner::dkls23 {

PairSetup::PairSetup(const Digest& sid, ParticipantIndex self, ParticipantIndex peer,
                     Random& random)
    : sid_(sid),
      self_(self),
      peer_(peer),
      chooser_(direction_sid(sid, self, peer), random),
      seed_share_(random.secret<32>()) {}

Result<SecretVector> PairSetup::answer(ByteView peer_first, Random& random) {
  const Digest sid = direction_sid(sid_, peer_, self_);
  const std::expected<BaseOtSent, Refusal> sent = base_ot_send(sid, peer_first, random);
  if (!sent) {
    return malformed(peer_, "a base OT message that does not parse");
  }
  PprfBuilt built = pprf_build(sid, sent->keys);
  receiver_ = std::move(built.state);
  SecretVector out;
  out.reserve(kSetupAnswerBytes);
  out.insert(out.end(), sent->reply.begin(), sent->reply.end());
  out.insert(out.end(), built.message.begin(), built.message.end());
  const ByteView seed = seed_share_.expose();
  out.insert(out.end(), seed.begin(), seed.end());
  return out;
}

Result<PairState> PairSetup::finish(ByteView peer_answer) {
  if (peer_answer.size() != kSetupAnswerBytes) {
    return malformed(peer_, "an OT set-up answer of the wrong length");
  }
  // All but the seed share are protocol messages made to be seen; they are encrypted only because
  // they travel with the share, and decrypting made them look secret.
  declassify(peer_answer.data(), kBaseOtMessageBytes + kPprfMessageBytes);
  const std::expected<std::vector<OtKey>, Refusal> keys =
      chooser_.finish(peer_answer.first(kBaseOtMessageBytes));
  if (!keys) {
    return malformed(peer_, "a base OT answer that does not parse");
  }
  std::expected<SenderState, Refusal> sender =
      pprf_evaluate(direction_sid(sid_, self_, peer_), chooser_.choices(), *keys,
                    peer_answer.subspan(kBaseOtMessageBytes, kPprfMessageBytes));
  if (!sender) {
    return burn(peer_, "the OT set-up does not check out");
  }
  PairState out;
  out.id = pair_id(sid_, self_, peer_);
  out.sender = std::move(*sender);
  out.receiver = std::move(receiver_);
  const ByteView theirs = peer_answer.last(32);
  const std::span<std::uint8_t> seed = out.zero_seed.expose_mutable();
  for (std::size_t i = 0; i < seed.size(); ++i) {
    seed[i] = static_cast<std::uint8_t>(seed_share_.expose()[i] ^ theirs[i]);
  }
  return out;
}

}  // namespace cosigner::dkls23
