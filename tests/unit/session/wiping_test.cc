// No secret outlives its session or its key, anywhere in the process: the whole memory is searched
// for every scalar that the protocols drew and for the keys' secrets.
#include <catch2/catch.hpp>

#include "crypto/base/burn_stack.h"
#include "crypto/identity/share_seal.h"
#include "crypto/secp256k1/scalar.h"
#include "tests/support/presign_cluster.h"
#include "tests/support/secret_patterns.h"
#include "tests/support/seeded_random.h"

#ifndef COSIGNER_SANITIZED  // a sanitizer keeps freed memory to itself
using namespace cosigner;
using namespace cosigner::test;

namespace {

constexpr Scheme kScheme = Scheme::kEcdsaSecp256k1;

/// Notes every scalar that is drawn: coefficients, base OT exponents, nonces r and φ, the VOLE's â.
/// All of them are secret.
class NotingRandom final : public Random {
 public:
  NotingRandom(std::uint64_t seed, MemoryScan& scan) : random_(seed), scan_(scan) {}
  void fill(std::span<std::uint8_t> out) override {
    random_.fill(out);
    if (out.size() == 64) {
      scan_.add("drawn", out);
      scan_.add_scalar("drawn", secp256k1::SecretScalar::reduce(out).encode().expose());
    }
  }

 private:
  SeededRandom random_;
  MemoryScan& scan_;
};

/// Returns the size of a key secret. Not inlined: what it leaves on the stack lies below its
/// caller.
[[gnu::noinline]] std::size_t add_stored_secrets(EngineCluster& cluster, MemoryScan& scan) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    EngineCluster::Node& node = cluster.node(i);
    const ipc::StoredKey& stored = node.store->active.at("k");
    const KeyRecord record = decode_key_record(stored.record).value();
    const SecretVector secret =
        open_share(cluster.sealing_key(node), share_binding(record, stored.record),
                   stored.sealed_share)
            .value();
    std::vector<ParticipantIndex> peers;
    for (const auto& [index, name] : record.participants) {
      if (name != node.name) {
        peers.push_back(index);
      }
    }
    add_key_secrets(scan, as_view(secret), peers);
    size = secret.size();
  }
  return size;
}

std::map<std::string, std::size_t> searched(MemoryScan& scan) {
  auto found = scan.search(::getpid());
  REQUIRE(found);
  return *found;
}

}  // namespace

TEST_CASE(
    "checklist: wiping: no scalar of a finished session, no secret of an evicted key, is left "
    "in the process (canary scan)",
    "[wiping]") {
  MemoryScan scan;
  EngineCluster cluster(21, 3);
  cluster.make_random = [&scan](std::uint64_t seed) {
    return std::make_unique<NotingRandom>(seed, scan);
  };
  Request keygen = cluster.keygen_request("k", 2);
  keygen.scheme = kScheme;
  REQUIRE(cluster.settle(cluster.ask_all(cluster.sign(keygen).envelope)));
  const auto sign = [&](std::uint8_t fill) {
    Request request = cluster.sign_request("k", ByteVector(32, fill));
    request.scheme = kScheme;
    const auto works = cluster.ask_all(cluster.sign(request).envelope);
    REQUIRE(cluster.settle(works));
    return cluster.answer(works.front()).ok();
  };
  const std::size_t drawn_by_keygen = scan.patterns();
  CHECK(drawn_by_keygen > 1000);
  CHECK(sign(1));
  // A session that fails in its middle: a sealed packet is altered, and the attempt times out.
  std::size_t packets = 0;
  cluster.filter = [&](const std::string&, const std::string&, ByteVector& payload) {
    if (++packets == 5) {
      payload.back() ^= 1U;
    }
    return true;
  };
  CHECK(sign(2));
  cluster.filter = nullptr;
  cluster.run(60 * kSecond);  // everything at rest: no session, nothing to send again
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    REQUIRE(cluster.node(i).engine->idle());
  }
  CHECK(scan.patterns() > drawn_by_keygen + 10);
  const std::size_t size = add_stored_secrets(cluster, scan);
  burn_stack();  // of what this test's own call has left

  // The keys are open: each engine keeps its secret, once, and nothing is anywhere else.
  std::map<std::string, std::size_t> found = searched(scan);
  INFO(scan.places());
  CHECK(scan.bytes_searched() > 1'000'000);
  CHECK(found["drawn"] == 0);
  CHECK(found["share"] == 3);
  CHECK(found["delta"] == 6);
  CHECK(found["leaf"] >= 12);
  CHECK(found["seed"] == 12);  // two patterns a pair, each found at both ends
  CHECK(strays(scan, size) == 0);

  for (std::size_t i = 0; i < cluster.size(); ++i) {
    cluster.kill(cluster.node(i));
  }
  CHECK(searched(scan).empty());
}

TEST_CASE(
    "checklist: wiping: a presignature's secret is in memory until it is used, and then no more",
    "[wiping]") {
  MemoryScan scan;
  PresignCluster cluster(31, 3, 2);
  cluster.make_random = [&scan](std::uint64_t seed) {
    return std::make_unique<NotingRandom>(seed, scan);
  };
  for (std::size_t i = 0; i < cluster.size(); ++i) {
    cluster.kill(cluster.node(i));  // the next worker draws from the noted generator
  }
  REQUIRE(cluster.presign(6) == 6);
  cluster.run(10 * kSecond);
  REQUIRE(cluster.held() == 12);
  burn_stack();
  {
    // φ is the one scalar of a presignature that was drawn: one at each of its two members.
    std::map<std::string, std::size_t> found = searched(scan);
    INFO(scan.places());
    CHECK(found["drawn"] == 12);
  }
  for (int i = 0; i < 40 && cluster.held() > 0; ++i) {
    cluster.sign_one();
    cluster.run(kSecond);
  }
  REQUIRE(cluster.held() == 0);
  cluster.run(60 * kSecond);
  burn_stack();
  std::map<std::string, std::size_t> found = searched(scan);
  INFO(scan.places());
  CHECK(found["drawn"] == 0);
}

TEST_CASE(
    "checklist: wiping: the search finds what is not wiped, across pieces and in freed memory",
    "[wiping]") {
  MemoryScan scan;
  SeededRandom random(77);
  ByteVector secret(32);
  random.fill(secret);
  scan.add("planted", secret);
  CHECK(searched(scan)["planted"] == 1);
  // 3 MiB of it at odd places, some of which lie across two pieces of the search.
  std::vector<std::uint8_t> field(3U << 20U, 0);
  std::size_t planted = 0;
  for (std::size_t at = 5; at + 32 <= field.size(); at += 4093) {
    std::copy(secret.begin(), secret.end(), field.begin() + static_cast<std::ptrdiff_t>(at));
    ++planted;
  }
  CHECK(searched(scan)["planted"] == planted + 1);
  ::explicit_bzero(field.data(), field.size());
  CHECK(searched(scan)["planted"] == 1);
  // A freed block keeps what the heap's own links do not overwrite.
  auto freed = std::make_unique<ByteVector>(256);
  std::ranges::copy(secret, freed->begin() + 128);
  freed.reset();
  CHECK(searched(scan)["planted"] == 2);
  ::explicit_bzero(secret.data(), secret.size());
  CHECK(searched(scan)["planted"] == 1);
}
#endif
