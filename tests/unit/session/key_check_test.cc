// What `verify` finds in a stored key: nothing in a good one, and the fault that was put in.

#include "worker/session/key_check.h"

#include <catch2/catch.hpp>

#include "crypto/dkls23/key_state.h"
#include "crypto/ed25519/group.h"
#include "crypto/identity/share_seal.h"
#include "crypto/protocol/key_share.h"
#include "crypto/secp256k1/group.h"
#include "tests/support/engine_cluster.h"

using namespace cosigner;
using namespace cosigner::test;
using namespace cosigner::worker;
using ipc::KeyFault;

namespace {

/// Keys "k" and "other" of one scheme on three nodes, as their stores have them.
struct StoredKeys {
  explicit StoredKeys(Scheme scheme) : cluster(41, 3), peers(cluster.peers()) {
    cluster.make_key("k", 2, scheme);
    cluster.make_key("other", 2, scheme);
    record = decode_key_record(stored().record).value();
  }

  [[nodiscard]] ipc::StoredKey stored(std::size_t node = 0, const std::string& key = "k") {
    return cluster.node(node).store->active.at(key);
  }
  [[nodiscard]] KeyFault fault(const ipc::StoredKey& key, std::size_t node = 0) {
    return find_key_fault(key, {record.cluster, cluster.node(node).name, record.user, peers,
                                EngineCluster::sealing_key(cluster.node(node))});
  }
  [[nodiscard]] SecretVector secret_of(std::size_t node = 0, const std::string& key = "k") {
    const ipc::StoredKey one = stored(node, key);
    const KeyRecord its = decode_key_record(one.record).value();
    return open_share(EngineCluster::sealing_key(cluster.node(node)),
                      share_binding(its, one.record), one.sealed_share)
        .value();
  }
  /// The first node's key with another secret, sealed as its worker would.
  [[nodiscard]] ipc::StoredKey with_secret(ByteView secret) {
    ipc::StoredKey out = stored();
    out.sealed_share = seal_share(EngineCluster::sealing_key(cluster.node(0)),
                                  share_binding(record, out.record), secret, cluster.random());
    return out;
  }

  EngineCluster cluster;
  std::vector<ipc::Peer> peers;
  KeyRecord record;
};

template <class Group>
SecretVector with_index(const SecretVector& secret, ParticipantIndex index) {
  auto share = KeyShare<Group>::decode(as_view(secret)).value();
  share.index = index;
  return share.encode();
}

}  // namespace

TEST_CASE("verify: a good key has no fault, on any node, active or pending", "[verify]") {
  const auto scheme = GENERATE(Scheme::kEd25519, Scheme::kEcdsaSecp256k1);
  StoredKeys keys(scheme);
  for (std::size_t node = 0; node < 3; ++node) {
    for (const char* key : {"k", "other"}) {
      CHECK(keys.fault(keys.stored(node, key), node) == KeyFault::kNone);
    }
  }
  ipc::StoredKey pending = keys.stored();
  pending.state = ipc::KeyState::kPending;
  CHECK(keys.fault(pending) == KeyFault::kCertificate);  // it has none before it is active
  pending.certificate.clear();
  CHECK(keys.fault(pending) == KeyFault::kNone);
  // The engine asks the same, of its own user and with its own keys.
  const auto said = keys.cluster.node(0).engine->verify({.number = 7, .key = keys.stored()});
  CHECK(said.number == 7);
  CHECK(said.fault == KeyFault::kNone);
  const auto other = keys.cluster.node(0).engine->verify({.number = 8, .key = keys.stored(1)});
  CHECK(other.number == 8);
  CHECK(other.fault == KeyFault::kSeal);
}

TEST_CASE("verify: a record that is not this key's is named", "[verify]") {
  StoredKeys keys(Scheme::kEd25519);
  const auto altered = [&](auto alter) {
    ipc::StoredKey key = keys.stored();
    alter(key);
    return keys.fault(key);
  };
  CHECK(altered([](auto& key) { key.key = "other"; }) == KeyFault::kRecord);
  CHECK(altered([](auto& key) { ++key.epoch; }) == KeyFault::kRecord);
  CHECK(altered([](auto& key) { key.session.data[0] ^= 1U; }) == KeyFault::kRecord);
  CHECK(altered([](auto& key) { key.record.clear(); }) == KeyFault::kRecord);
  CHECK(altered([](auto& key) { key.record.push_back(0); }) == KeyFault::kRecord);
  CHECK(altered([&](auto& key) { key.record = keys.stored(0, "other").record; }) ==
        KeyFault::kRecord);
  const ipc::StoredKey good = keys.stored();
  const auto held_by = [&](std::string_view cluster, std::string_view node, std::string_view user) {
    return find_key_fault(
        good, {cluster, node, user, keys.peers, EngineCluster::sealing_key(keys.cluster.node(0))});
  };
  const KeyRecord& record = keys.record;
  const std::string& node = keys.cluster.node(0).name;
  CHECK(held_by(record.cluster, node, record.user) == KeyFault::kNone);
  CHECK(held_by("elsewhere", node, record.user) == KeyFault::kRecord);
  CHECK(held_by(record.cluster, "n9", record.user) == KeyFault::kRecord);
  CHECK(held_by(record.cluster, node, "somebody") == KeyFault::kRecord);
}

TEST_CASE("verify: a certificate that does not cover the record is named", "[verify]") {
  StoredKeys keys(Scheme::kEd25519);
  ipc::StoredKey key = keys.stored();
  key.certificate.clear();
  CHECK(keys.fault(key) == KeyFault::kCertificate);
  key.certificate = keys.stored(0, "other").certificate;
  CHECK(keys.fault(key) == KeyFault::kCertificate);
  key = keys.stored();
  for (std::size_t i = 0; i < key.certificate.size(); ++i) {
    INFO("byte " << i);
    key.certificate[i] ^= 1U;
    CHECK(keys.fault(key) == KeyFault::kCertificate);
    key.certificate[i] ^= 1U;
  }
  // A record that says something else is one that nobody acknowledged.
  KeyRecord other = keys.record;
  other.public_shares[0] = other.public_shares[1];
  key.record = encode_key_record(other);
  CHECK(keys.fault(key) == KeyFault::kCertificate);

  key = keys.stored();
  const Ed25519PublicKey before = keys.peers[2].identity;
  keys.peers[2].identity = keys.peers[1].identity;
  CHECK(keys.fault(key) == KeyFault::kCertificate);
  keys.peers[2].identity = before;
  keys.peers.pop_back();
  CHECK(keys.fault(key) == KeyFault::kPeers);
}

TEST_CASE("verify: a sealed share that is another's or damaged does not open", "[verify]") {
  StoredKeys keys(Scheme::kEd25519);
  ipc::StoredKey key = keys.stored();
  for (std::size_t i = 0; i < key.sealed_share.size(); ++i) {
    INFO("byte " << i);
    key.sealed_share[i] ^= 1U;
    CHECK(keys.fault(key) == KeyFault::kSeal);
    key.sealed_share[i] ^= 1U;
  }
  REQUIRE(keys.fault(key) == KeyFault::kNone);
  key.sealed_share.pop_back();
  CHECK(keys.fault(key) == KeyFault::kSeal);
  key.sealed_share = keys.stored(0, "other").sealed_share;
  CHECK(keys.fault(key) == KeyFault::kSeal);
  key.sealed_share = keys.stored(1).sealed_share;
  CHECK(keys.fault(key) == KeyFault::kSeal);
}

TEST_CASE("verify: a share that is not the certified one's secret is named", "[verify]") {
  const auto scheme = GENERATE(Scheme::kEd25519, Scheme::kEcdsaSecp256k1);
  StoredKeys keys(scheme);
  const SecretVector own = keys.secret_of();
  REQUIRE(keys.fault(keys.with_secret(as_view(own))) == KeyFault::kNone);
  const auto other_index =
      scheme == Scheme::kEd25519 ? with_index<ed25519::Group> : with_index<Secp256k1Group>;
  CHECK(keys.fault(keys.with_secret(as_view(other_index(own, 2)))) == KeyFault::kShare);
  CHECK(keys.fault(keys.with_secret(as_view(keys.secret_of(0, "other")))) == KeyFault::kShare);
  CHECK(keys.fault(keys.with_secret(as_view(keys.secret_of(1)))) == KeyFault::kShare);
  CHECK(keys.fault(keys.with_secret(as_view(other_index(keys.secret_of(1), 1)))) ==
        KeyFault::kShare);
  CHECK(keys.fault(keys.with_secret(as_view(own).first(20))) == KeyFault::kShare);
}

TEST_CASE("verify: OT state must be readable and of this key's peers, and a burnt pair is no fault",
          "[verify]") {
  StoredKeys keys(Scheme::kEcdsaSecp256k1);
  const SecretVector own = keys.secret_of();
  CHECK(keys.fault(keys.with_secret(as_view(own).first(own.size() - 1))) == KeyFault::kOtState);
  auto share = KeyShare<Secp256k1Group>::decode(as_view(own)).value();
  share.state.clear();
  CHECK(keys.fault(keys.with_secret(as_view(share.encode()))) == KeyFault::kOtState);
  // The second node's, which is towards this one and the third.
  share.state = KeyShare<Secp256k1Group>::decode(as_view(keys.secret_of(1)))->state;
  CHECK(keys.fault(keys.with_secret(as_view(share.encode()))) == KeyFault::kOtState);
  const auto burnt = dkls23::erase_pair(as_view(own), 2);
  REQUIRE(burnt);
  CHECK(keys.fault(keys.with_secret(as_view(*burnt))) == KeyFault::kNone);
}
