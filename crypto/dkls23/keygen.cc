// Key generation: the common DKG on secp256k1 with the OT set-up of every pair beside it.

#include <map>
#include <memory>

#include "crypto/dkg/dkg.h"
#include "crypto/dkls23/ecdsa.h"
#include "crypto/dkls23/pair_setup.h"
#include "crypto/secp256k1/group.h"

namespace cosigner::dkls23 {

namespace {

/// One PairSetup for each peer, all under the DKG's session id. 35 ms of work for a peer.
class OtExtensionOfDkg final : public DkgExtension {
 public:
  explicit OtExtensionOfDkg(Random& random) : random_(random) {}

  [[nodiscard]] std::size_t round1_limit() const override { return kSetupFirstBytes; }
  [[nodiscard]] std::size_t round2_limit() const override { return kSetupAnswerBytes; }

  [[nodiscard]] Result<void> begin(const Digest& sid, ParticipantIndex self,
                                   std::span<const ParticipantIndex> peers) override {
    for (const ParticipantIndex peer : peers) {
      pairs_.emplace(std::piecewise_construct, std::forward_as_tuple(peer),
                     std::forward_as_tuple(sid, self, peer, random_));
    }
    return {};
  }
  [[nodiscard]] Result<ByteVector> round1_for(ParticipantIndex peer) override {
    return pairs_.at(peer).setup.first_message();
  }
  /// The answer is computed at once, so that round2_for() is ready when the shares are dealt.
  [[nodiscard]] Result<void> on_round1(ParticipantIndex peer, ByteView payload) override {
    Pair& pair = pairs_.at(peer);
    Result<SecretVector> answer = pair.setup.answer(payload, random_);
    if (!answer) {
      return std::unexpected(answer.error());
    }
    pair.answer = std::move(*answer);
    return {};
  }
  [[nodiscard]] Result<SecretVector> round2_for(ParticipantIndex peer) override {
    return std::move(pairs_.at(peer).answer);
  }
  [[nodiscard]] Result<void> on_round2(ParticipantIndex peer, ByteView payload) override {
    Result<PairState> state = pairs_.at(peer).setup.finish(payload);
    if (!state) {
      return std::unexpected(state.error());
    }
    states_[peer] = std::move(*state);
    return {};
  }
  [[nodiscard]] Result<SecretVector> finish() override { return encode_states(states_); }

 private:
  struct Pair {
    Pair(const Digest& sid, ParticipantIndex self, ParticipantIndex peer, Random& random)
        : setup(sid, self, peer, random) {}
    PairSetup setup;
    SecretVector answer;
  };
  Random& random_;
  std::map<ParticipantIndex, Pair> pairs_;
  PairStates states_;
};

}  // namespace

Result<std::unique_ptr<Protocol>> make_keygen(const KeygenParameters& parameters, Random& random) {
  return std::make_unique<Dkg<Secp256k1Group>>(parameters,
                                               std::make_unique<OtExtensionOfDkg>(random), random);
}

}  // namespace cosigner::dkls23
