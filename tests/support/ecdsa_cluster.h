#pragma once
// A cluster of engines with an ECDSA key, and a party in it that cheats in OT and VOLE. The key is
// made once for each shape and put into every further cluster's stores: key generation is 70 ms of
// work for each pair.

#include <map>

#include "crypto/dkls23/key_state.h"
#include "crypto/identity/share_seal.h"
#include "tests/support/double_agent.h"
#include "worker/session/rendezvous.h"

namespace cosigner::test {

class EcdsaCluster : public EngineCluster {
 public:
  EcdsaCluster(std::uint64_t seed, std::size_t size, std::uint16_t threshold,
               NetworkFaults network = {})
      : EngineCluster(seed, size, network) {
    settings.sign_deadline_ms = 20'000;
    struct Made {
      ByteVector public_key;
      std::vector<ipc::StoredKey> keys;
    };
    static std::map<std::pair<std::size_t, std::uint16_t>, Made> made;
    const auto shape = std::pair(size, threshold);
    if (!made.contains(shape)) {
      EngineCluster maker(99, size);
      Made& one = made[shape];
      one.public_key = maker.make_key("k", threshold, Scheme::kEcdsaSecp256k1);
      for (std::size_t i = 0; i < size; ++i) {
        one.keys.push_back(maker.node(i).store->active.at("k"));
      }
    }
    public_key = made.at(shape).public_key;
    for (std::size_t i = 0; i < size; ++i) {
      node(i).store->active["k"] = made.at(shape).keys[i];
    }
  }

  /// A request to sign a digest that no other request has; `coordinator`: of its first attempt.
  SignedRequest request(const std::string& coordinator = {}) {
    std::vector<worker::Participant> participants;
    for (std::size_t i = 0; i < size(); ++i) {
      participants.push_back({static_cast<ParticipantIndex>(i + 1), node(i).name});
    }
    while (true) {
      Request wanted = sign_request("k", ByteVector(32, ++message_));
      wanted.scheme = Scheme::kEcdsaSecp256k1;
      SignedRequest made = sign(wanted);
      if (coordinator.empty() ||
          worker::CoordinatorOrder(made.session, participants).of(0) == coordinator) {
        digests_[made.session] = wanted.message;
        return made;
      }
    }
  }
  /// Asks everyone; true if all of `nodes` have a signature that verifies.
  bool signs(const std::vector<std::string>& nodes, const std::string& coordinator = {}) {
    const SignedRequest wanted = request(coordinator);
    const auto works = ask_all(wanted.envelope);
    std::vector<std::uint64_t> counted;
    for (const std::uint64_t id : works) {
      if (std::ranges::find(nodes, work(id).node) != nodes.end()) {
        counted.push_back(id);
      }
    }
    if (!settle(counted, 40 * kSecond)) {
      return false;
    }
    return std::ranges::all_of(counted, [&](std::uint64_t id) { return good(id); });
  }
  [[nodiscard]] bool good(std::uint64_t work_id) const {
    const RequestAnswer& given = answer(work_id);
    const auto* made = std::get_if<SignResult>(&given.content);
    return made != nullptr && made->public_key == public_key &&
           verify_signature_vartime(Scheme::kEcdsaSecp256k1, public_key, digests_.at(given.session),
                                    made->signature);
  }

  /// `node` is away for everyone, or back.
  void away(const std::string& name, bool is_away) {
    node(name).cut = is_away;
    set_present(node(name), !is_away);
    run(10 * kMs);
  }

  /// The id of the OT state that `name`'s store holds with participant `peer`.
  [[nodiscard]] std::optional<Digest> stored_pair(const std::string& name, ParticipantIndex peer) {
    const ipc::StoredKey& key = node(name).store->active.at("k");
    const KeyRecord record = decode_key_record(key.record).value();
    const AeadKey sealing = *AeadKey::from(ByteVector(32, static_cast<std::uint8_t>(name.back())));
    const auto share = open_share(sealing, share_binding(record, key.record), key.sealed_share);
    for (const auto& [index, id] : dkls23::pair_ids(as_view(share.value()))) {
      if (index == peer) {
        return id;
      }
    }
    return std::nullopt;
  }
  [[nodiscard]] bool banned(const std::string& name, const std::string& peer) {
    const auto& pairs = node(name).store->pairs;
    const auto found = pairs.find({"k", peer});
    return found != pairs.end() && found->second.banned;
  }
  [[nodiscard]] std::size_t bans() {
    std::size_t count = 0;
    for (std::size_t i = 0; i < size(); ++i) {
      for (const auto& [name, pair] : node(i).store->pairs) {
        count += pair.banned ? 1U : 0U;
      }
    }
    return count;
  }
  /// Nothing is ordered, stored or banned any more, and both sides hold the same state.
  [[nodiscard]] bool renewed(const std::string& a, ParticipantIndex index_a, const std::string& b,
                             ParticipantIndex index_b) {
    const auto at_a = stored_pair(a, index_b);
    return at_a && at_a == stored_pair(b, index_a) && !node(a).store->pairs.contains({"k", b}) &&
           !node(b).store->pairs.contains({"k", a});
  }

  ByteVector public_key;

 private:
  std::uint8_t message_ = 0;
  std::map<SessionId, ByteVector> digests_;
};

/// Spoils the OT extension (round 1) or the VOLE answer (round 2) that `cheat` sends to `victim`,
/// while `on`. Everything else, and what everyone else sends, goes through.
class Cheat {
 public:
  Cheat(EcdsaCluster& cluster, const std::string& cheat, std::string victim, std::uint8_t round)
      : agent_(cluster, cheat,
               [this, victim = std::move(victim), round](const std::string& to,
                                                         std::vector<ByteVector>& messages) {
                 for (ByteVector& message : messages) {
                   if (on && to == victim && is<worker::Round>(message) &&
                       decoded<worker::Round>(message).round == round) {
                     // The last bytes of t, or of the hash over μ: well-formed, and false.
                     message.back() ^= 1U;
                     ++spoilt;
                   }
                 }
               }) {}
  bool operator()(const std::string& from, const std::string& to, ByteVector& packet) {
    return agent_(from, to, packet);
  }
  bool on = true;
  int spoilt = 0;

 private:
  DoubleAgent agent_;
};

}  // namespace cosigner::test
