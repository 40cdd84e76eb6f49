// Honest runs: key generation and signing with every t-subset, checked by libsodium and OpenSSL.
#include <openssl/evp.h>
#include <sodium.h>

#include <catch2/catch.hpp>
#include <memory>
#include <set>

#include "crypto/ed25519/group.h"
#include "crypto/frost/lagrange.h"
#include "crypto/protocol/key_share.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"

using namespace cosigner;
using namespace cosigner::test;

namespace {

bool openssl_verifies(ByteView key, ByteView message, ByteView signature) {
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> pkey(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.data(), key.size()),
      &EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(),
                                                                        &EVP_MD_CTX_free);
  return EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, pkey.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), message.data(),
                          message.size()) == 1;
}

void check_signature(const PublicKeyRecord& record, const ByteVector& message,
                     const ByteVector& signature) {
  REQUIRE(signature.size() == 64);
  CHECK(verify_signature_vartime(Scheme::kEd25519, record.public_key, message, signature));
  CHECK(crypto_sign_verify_detached(signature.data(), message.data(), message.size(),
                                    record.public_key.data()) == 0);
  CHECK(openssl_verifies(record.public_key, message, signature));
  ByteVector other = message;
  other.push_back(0);
  CHECK_FALSE(verify_signature_vartime(Scheme::kEd25519, record.public_key, other, signature));
}

// Every participant has the same record, and the shares are points of one polynomial of degree t−1.
void check_keys(const RunReport& keys, const std::vector<ParticipantIndex>& participants,
                std::uint16_t threshold) {
  const PublicKeyRecord& record = keys.key(participants.front()).record;
  CHECK(record.threshold == threshold);
  REQUIRE(record.public_shares.size() == participants.size());
  for (std::size_t k = 0; k < participants.size(); ++k) {
    const KeyOutcome& outcome = keys.key(participants[k]);
    CHECK(outcome.record == record);
    const auto share = KeyShare<Ed25519Group>::decode(as_view(outcome.secret));
    REQUIRE(share);
    CHECK(share->index == participants[k]);
    CHECK(record.public_shares[k].first == participants[k]);
    CHECK(to_vector(Ed25519Group::multiply_base(share->share)->view()) ==
          record.public_shares[k].second);
  }
  for (const auto& subset : subsets(participants, threshold)) {
    ed25519::SecretScalar secret;
    for (const ParticipantIndex index : subset) {
      const auto share = KeyShare<Ed25519Group>::decode(as_view(keys.key(index).secret));
      secret = secret + share->share * lagrange_vartime<Ed25519Group>(subset, index);
    }
    CHECK(to_vector(Ed25519Group::multiply_base(secret)->view()) == record.public_key);
  }
}

}  // namespace

TEST_CASE("ed25519: every t-subset of 2-of-2, 2-of-3, 3-of-5 and 5-of-7 makes a signature") {
  SeededRandom random(11);
  const auto [threshold, count] = GENERATE(
      std::pair<std::uint16_t, std::size_t>(2, 2), std::pair<std::uint16_t, std::size_t>(2, 3),
      std::pair<std::uint16_t, std::size_t>(3, 5), std::pair<std::uint16_t, std::size_t>(5, 7));
  const auto participants = first_indices(count);
  const RunReport keys = run_keygen(Scheme::kEd25519, threshold, participants, random);
  REQUIRE_FALSE(keys.any_abort());
  check_keys(keys, participants, threshold);
  const ByteVector message = to_vector(as_bytes("pay 1 to Alice"));
  std::set<ByteVector> signatures;
  for (const auto& signers : subsets(participants, threshold)) {
    const ParticipantIndex assembler = signers[signatures.size() % signers.size()];
    const RunReport run = run_sign(keys, signers, message, assembler, random);
    REQUIRE_FALSE(run.any_abort());
    for (const ParticipantIndex signer : signers) {
      CHECK(run.at(signer).outcome.has_value() == (signer == assembler));
      CHECK(run.at(signer).messages_sent == (signer == assembler ? 0 : 1));
    }
    check_signature(keys.key(1).record, message, run.signature(assembler));
    CHECK(signatures.insert(run.signature(assembler)).second);
  }
}

TEST_CASE("ed25519: messages empty, of zeros, with leading zeros, of 64 KiB and of 1 MiB") {
  SeededRandom random(12);
  const RunReport keys = run_keygen(Scheme::kEd25519, 2, {1, 2, 3}, random);
  ByteVector leading(40, 0);
  leading.back() = 7;
  ByteVector large(64 * 1024);
  random.fill(large);
  for (const ByteVector& message :
       {ByteVector(), ByteVector(32, 0), leading, large, ByteVector(kMaxMessageBytes, 0xa5)}) {
    const RunReport run = run_sign(keys, {1, 3}, message, 3, random);
    REQUIRE_FALSE(run.any_abort());
    check_signature(keys.key(1).record, message, run.signature(3));
  }
  CHECK_FALSE(
      make_sign(sign_parameters(keys.key(1), ByteVector(kMaxMessageBytes + 1, 0), 1, 1), random));
}

TEST_CASE("ed25519: any order of delivery, starts one after the other, doubled messages") {
  for (std::uint64_t seed = 0; seed < static_cast<std::uint64_t>(rounds(15, 300)); ++seed) {
    SeededRandom random(seed);
    const Configure disorder = [&](ProtocolRunner& runner) {
      runner.shuffle_seed = seed;
      runner.staggered_start = seed % 2 == 0;
      runner.hook = [&](Envelope& e) {
        e.copies = e.round > 0 && random.next_u64() % 3 == 0 ? 2 : 1;
      };
    };
    const RunReport keys = run_keygen(Scheme::kEd25519, 3, first_indices(4), random, disorder);
    REQUIRE_FALSE(keys.any_abort());
    check_keys(keys, first_indices(4), 3);
    const RunReport run = run_sign(keys, {1, 2, 4}, {1, 2, 3}, 2, random, disorder);
    REQUIRE_FALSE(run.any_abort());
    check_signature(keys.key(1).record, {1, 2, 3}, run.signature(2));
  }
}

TEST_CASE("ed25519: indices far apart, the largest group, and n of n") {
  SeededRandom random(13);
  const std::vector<ParticipantIndex> scattered{2, 31, 64, 65535};
  const RunReport keys = run_keygen(Scheme::kEd25519, 3, scattered, random);
  REQUIRE_FALSE(keys.any_abort());
  check_keys(keys, scattered, 3);
  for (const auto& signers : subsets(scattered, 3)) {
    const RunReport run = run_sign(keys, signers, {9}, signers[0], random);
    REQUIRE_FALSE(run.any_abort());
    check_signature(keys.key(2).record, {9}, run.signature(signers[0]));
  }
  const auto everyone = first_indices(kMaxParticipants);
  const RunReport large = run_keygen(Scheme::kEd25519, 2, everyone, random);
  REQUIRE_FALSE(large.any_abort());
  const RunReport run = run_sign(large, {5, 32}, {9}, 32, random);
  check_signature(large.key(1).record, {9}, run.signature(32));
}

TEST_CASE("ed25519: two key generations of the same participants have nothing in common") {
  SeededRandom random(14);
  const RunReport a = run_keygen(Scheme::kEd25519, 2, {1, 2}, random);
  const RunReport b = run_keygen(Scheme::kEd25519, 2, {1, 2}, random);
  CHECK(a.key(1).record.public_key != b.key(1).record.public_key);
  CHECK(a.key(1).record.chain_code != b.key(1).record.chain_code);
  CHECK(a.key(1).record.transcript != b.key(1).record.transcript);
}

TEST_CASE("ed25519: shares of two epochs do not sign together, and both are told apart") {
  SeededRandom random(15);
  RunReport old_keys = run_keygen(Scheme::kEd25519, 2, {1, 2}, random);
  const RunReport new_keys = run_keygen(Scheme::kEd25519, 2, {1, 2}, random);
  // Participant 2 signs with its other share under the record of the first key.
  auto& mixed = std::get<KeyOutcome>(*old_keys.at(2).outcome);
  mixed.secret = new_keys.key(2).secret;
  const RunReport run = run_sign(old_keys, {1, 2}, {1}, 1, random);
  REQUIRE(run.at(1).abort);
  CHECK(run.at(1).abort->abort_class == AbortClass::kAttributable);
  CHECK(run.at(1).abort->culprits == std::vector<ParticipantIndex>{2});
  CHECK_FALSE(run.at(1).outcome);
}
