// ECDSA through whole clusters of engines: derived keys, every signing set, and a worker that dies
// at each message of a key generation and of a signature.
#include <bit>
#include <set>
#include <tuple>

#include "crypto/bip32/derivation.h"
#include "tests/unit/simulation/kill_at.h"
#include "worker/session/packet.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

constexpr Scheme kScheme = Scheme::kEcdsaSecp256k1;

struct EcdsaKey {
  ByteVector public_key;
  Digest chain_code;
};

EcdsaKey make_ecdsa_key(EngineCluster& cluster, std::uint16_t threshold) {
  Request wanted = cluster.keygen_request("k", threshold);
  wanted.scheme = kScheme;
  const auto works = cluster.ask_all(cluster.sign(wanted).envelope);
  REQUIRE(cluster.settle(works));
  std::optional<EcdsaKey> key;
  for (const std::uint64_t id : works) {
    REQUIRE(cluster.answer(id).ok());
    const auto& made = std::get<KeygenResult>(cluster.answer(id).content);
    key = EcdsaKey{made.public_key, decode_key_record(made.record).value().chain_code};
  }
  cluster.run(kSecond);
  return *key;
}

Request sign_digest(EngineCluster& cluster, std::uint8_t fill, bip32::Path path = {}) {
  Request request = cluster.sign_request("k", ByteVector(32, fill));
  request.scheme = kScheme;
  request.path = std::move(path);
  return request;
}

/// How many of the answers are signatures that verify under `public_key`.
std::size_t good_signatures(const EngineCluster& cluster, const std::vector<std::uint64_t>& works,
                            const ByteVector& public_key, const ByteVector& digest) {
  std::size_t good = 0;
  for (const std::uint64_t id : works) {
    const auto* result = std::get_if<SignResult>(&cluster.answer(id).content);
    if (result != nullptr) {
      CHECK(result->public_key == public_key);
      CHECK(verify_signature_vartime(kScheme, public_key, digest, result->signature));
      ++good;
    }
  }
  return good;
}

/// Every set of `threshold` nodes signs while the others are cut off and known to be absent.
void every_subset_signs(std::size_t nodes, std::uint16_t threshold) {
  EngineCluster cluster(nodes, nodes);
  const EcdsaKey key = make_ecdsa_key(cluster, threshold);
  std::size_t sets = 0;
  for (unsigned mask = 0; mask < (1U << nodes); ++mask) {
    if (std::popcount(mask) != threshold) {
      continue;
    }
    CAPTURE(mask);
    for (std::size_t i = 0; i < nodes; ++i) {
      cluster.node(i).cut = ((mask >> i) & 1U) == 0;
      cluster.set_present(cluster.node(i), !cluster.node(i).cut);
    }
    const auto digest = static_cast<std::uint8_t>(mask);
    const auto works = cluster.ask_all(cluster.sign(sign_digest(cluster, digest)).envelope);
    REQUIRE(works.size() == threshold);
    REQUIRE(cluster.settle(works));
    CHECK(good_signatures(cluster, works, key.public_key, ByteVector(32, digest)) == threshold);
    cluster.run(5 * kSecond);
    ++sets;
  }
  CHECK(sets == (nodes == 3 ? 3 : 10));
}

}  // namespace

TEST_CASE("ECDSA: every pair of 2-of-3 and every triple of 3-of-5 signs", "[simulation]") {
  every_subset_signs(3, 2);
  every_subset_signs(5, 3);
}

TEST_CASE("ECDSA: a signature for a path is one of the child key, at every node", "[simulation]") {
  EngineCluster cluster(11, 3);
  const EcdsaKey key = make_ecdsa_key(cluster, 2);
  std::vector<ByteVector> children;
  for (const bip32::Path& path : {bip32::Path{}, bip32::Path{0}, bip32::Path{44, 60, 0, 0, 5},
                                  bip32::Path{bip32::kHardened - 1, 0}}) {
    const ByteVector child = *bip32::derive_public_key(key.public_key, key.chain_code, path);
    children.push_back(child);
    const auto works = cluster.ask_all(cluster.sign(sign_digest(cluster, 9, path)).envelope);
    REQUIRE(cluster.settle(works));
    CHECK(good_signatures(cluster, works, child, ByteVector(32, 9)) == 3);
    cluster.run(kSecond);
  }
  std::ranges::sort(children);
  CHECK(std::ranges::adjacent_find(children) == children.end());
  check_invariants(cluster);
}

TEST_CASE("ECDSA: a worker dies at every message of a key generation, the key is made in the end",
          "[simulation]") {
  // A run is 0.3 s of processor time. An ordinary test takes every fifth message, a full one all.
  const auto stride = static_cast<std::uint64_t>(6 - rounds(1, 5));
  for (const bool receiver : {false, true}) {
    std::uint64_t at = receiver ? stride / 2 : 0;
    while (kill_at(3, {at, true, receiver}, kScheme)) {
      at += stride;
    }
    CHECK(at > 20);
  }
}

TEST_CASE("ECDSA: a worker dies at every message of a signature, the key signs afterwards",
          "[simulation]") {
  EngineCluster cluster(5, 3);
  const EcdsaKey key = make_ecdsa_key(cluster, 2);
  for (const bool receiver : {false, true}) {
    bool came = true;
    std::uint64_t at = 0;
    for (; came; ++at) {
      CAPTURE(at, receiver);
      std::uint64_t seen = 0;
      came = false;
      cluster.filter = [&](const std::string& from, const std::string& to, ByteVector&) {
        if (!came && seen++ == at) {
          came = true;
          const std::string victim = receiver ? to : from;
          cluster.after(0, [&cluster, victim] { cluster.kill(cluster.node(victim)); });
        }
        return true;
      };
      const auto fill = static_cast<std::uint8_t>(at);
      const auto works = cluster.ask_all(cluster.sign(sign_digest(cluster, fill)).envelope);
      REQUIRE(cluster.settle(works));
      // The worker that died answers with an error, or had answered; nobody else notices.
      CHECK(good_signatures(cluster, works, key.public_key, ByteVector(32, fill)) >= 2);
      cluster.filter = nullptr;
      cluster.run(3 * kSecond);
      check_usable(cluster, "k", key.public_key, kScheme);
      cluster.run(kSecond);
    }
    CHECK(at > 8);
  }
  check_invariants(cluster);
}

TEST_CASE("ToB-6: over a whole run no key and nonce of a channel seal two things", "[simulation]") {
  EngineCluster cluster(6, 3);
  // What names key and nonce: both ends with their generations (one channel key a direction, see
  // crypto/channel) and the sequence number.
  using Place = std::tuple<std::string, std::string, std::uint64_t, std::uint64_t, std::uint64_t>;
  std::map<Place, ByteVector> sealed;
  std::set<ByteVector> ciphertexts;
  std::size_t repeated = 0;
  cluster.faults = {.drop = 0.1, .duplicate = 0.1, .late = 0.05};
  cluster.filter = [&](const std::string& from, const std::string& to, ByteVector& payload) {
    const auto packet = worker::decode_sealed(payload);
    if (!packet || worker::packet_kind(payload) != worker::PacketKind::kSealed) {
      return true;
    }
    const Place place{from, to, packet->sender_generation, packet->recipient_generation,
                      packet->sequence};
    const ByteVector ciphertext(packet->ciphertext.begin(), packet->ciphertext.end());
    const auto [known, first] = sealed.try_emplace(place, ciphertext);
    CHECK(known->second == ciphertext);  // sent again: the same bytes
    repeated += first ? 0U : 1U;
    CHECK((!first || ciphertexts.insert(ciphertext).second));
    return true;
  };
  Request wanted = cluster.keygen_request("k", 2);
  wanted.scheme = kScheme;
  const SignedRequest request = cluster.sign(wanted);
  REQUIRE(cluster.settle(cluster.ask_all(request.envelope)));
  for (std::uint8_t i = 0; i < 10; ++i) {
    if (i == 5) {
      cluster.kill(cluster.node(1));  // the next generation counts from the start, under other keys
    }
    REQUIRE(cluster.settle(cluster.ask_all(cluster.sign(sign_digest(cluster, i)).envelope)));
  }
  cluster.run(10 * kSecond);
  CHECK(sealed.size() > 50);
  CHECK(repeated > 3);
}
