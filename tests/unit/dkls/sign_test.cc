// Whole signatures: every size and subset, two independent verifiers, recovery ids, paths,
// presignatures.

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <secp256k1.h>

#include <catch2/catch.hpp>

#include "tests/support/full.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {

/// OpenSSL's ECDSA over its own secp256k1: shares no code with the signer.
bool openssl_verifies(const Point& key, ByteView digest, const EcdsaSignature& signature) {
  const auto encoded = key.uncompressed();
  OSSL_PARAM_BLD* builder = OSSL_PARAM_BLD_new();
  OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "secp256k1", 0);
  OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, encoded.data.data(),
                                   encoded.data.size());
  OSSL_PARAM* parameters = OSSL_PARAM_BLD_to_param(builder);
  EVP_PKEY_CTX* import = EVP_PKEY_CTX_new_from_name(nullptr, "EC", nullptr);
  EVP_PKEY* pkey = nullptr;
  EVP_PKEY_fromdata_init(import);
  EVP_PKEY_fromdata(import, &pkey, EVP_PKEY_PUBLIC_KEY, parameters);
  EVP_PKEY_CTX* verify = EVP_PKEY_CTX_new(pkey, nullptr);
  const ByteVector der = signature.der();
  const bool ok =
      EVP_PKEY_verify_init(verify) == 1 &&
      EVP_PKEY_verify(verify, der.data(), der.size(), digest.data(), digest.size()) == 1;
  EVP_PKEY_CTX_free(verify);
  EVP_PKEY_free(pkey);
  EVP_PKEY_CTX_free(import);
  OSSL_PARAM_free(parameters);
  OSSL_PARAM_BLD_free(builder);
  return ok;
}

/// libsecp256k1's verification, where the product recovers the key. False for high s as well.
bool libsecp256k1_verifies(const Point& key, const MessageDigest& digest,
                           const EcdsaSignature& signature) {
  secp256k1_ecdsa_signature parsed;
  const ByteVector encoded = signature.encode();  // r ‖ s, then the recovery id
  return secp256k1_ecdsa_signature_parse_compact(secp256k1_context_static, &parsed,
                                                 encoded.data()) == 1 &&
         secp256k1_ecdsa_verify(secp256k1_context_static, &parsed, digest.data.data(),
                                &key.raw()) == 1;
}

void check_signature(const ByteVector& encoded, const Point& key, const Digest& digest) {
  const auto signature = EcdsaSignature::decode(encoded);
  REQUIRE(signature);
  const MessageDigest message = *MessageDigest::from(digest);
  CHECK(libsecp256k1_verifies(key, message, *signature));
  CHECK(openssl_verifies(key, digest, *signature));
  const auto recovered = secp256k1::ecdsa_recover_vartime(message, *signature);
  REQUIRE(recovered);
  CHECK(*recovered == key);
  CHECK_FALSE(Scalar::decode(signature->s)->is_high_vartime());
  CHECK(verify_signature_vartime(Scheme::kEcdsaSecp256k1, key.encode(), digest, encoded));
}

void check_all_subsets(std::uint16_t t, std::uint16_t n) {
  const Key& key = shared_key(t, n);
  SeededRandom random(n);
  for (const Signers& signers : subsets(n, t)) {
    const Digest digest = digest_of("message of set " + std::to_string(signers.back()));
    const RunReport report = run_sign(key, signers, digest, random);
    for (const ParticipantIndex i : signers) {
      INFO((report.at(i).abort ? report.at(i).abort->reason : ""));
      REQUIRE_FALSE(report.at(i).abort);
      CHECK(report.at(i).outcome.has_value() == (i == signers.front()));
    }
    check_signature(report.signature(signers.front()), root_of(key), digest);
  }
}

}  // namespace

TEST_CASE("checklist: 2-of-2 signs") {
  check_all_subsets(2, 2);
}
TEST_CASE("checklist: 2-of-3 signs with all pairs") {
  check_all_subsets(2, 3);
}
TEST_CASE("checklist: 3-of-5 signs with all triples") {
  check_all_subsets(3, 5);
}

TEST_CASE("checklist: 5-of-9 signs") {
  const Key& key = shared_key(5, 9);
  const std::vector<Signers> all = subsets(9, 5);
  SeededRandom random(59);
  const auto count = static_cast<std::size_t>(cosigner::test::rounds(6, 126));
  for (std::size_t k = 0; k < count; ++k) {
    const Signers& signers = all[k * all.size() / count];
    const Digest digest = digest_of("set " + std::to_string(k));
    check_signature(run_sign(key, signers, digest, random).signature(signers.front()), root_of(key),
                    digest);
  }
}

TEST_CASE("checklist: n = max signs, with indices far apart") {
  // 496 pairs take half a minute of OT set-up: only in full runs; 8 participants otherwise.
  const auto n = static_cast<std::uint16_t>(cosigner::test::rounds(8, kMaxParticipants));
  const Key& key = shared_key(2, n);
  SeededRandom random(n);
  for (const Signers& signers : {Signers{1, n}, Signers{static_cast<ParticipantIndex>(n - 1), n}}) {
    const Digest digest = digest_of("the largest group");
    check_signature(run_sign(key, signers, digest, random).signature(signers.front()), root_of(key),
                    digest);
  }
}

TEST_CASE(
    "checklist: low s, and the recovery id recovers the key, for random cases of both parities") {
  const Key& key = shared_key(2, 3);
  const Point root = root_of(key);
  SeededRandom random(42);
  std::array<int, 4> seen{};
  const int cases = cosigner::test::rounds(200, 10'000);
  for (int i = 0; i < cases; ++i) {
    const MessageDigest digest = random.bytes<MessageDigest>();
    const RunReport report = run_sign(key, {1, 2}, digest, random);
    const auto signature = EcdsaSignature::decode(report.signature(1));
    REQUIRE(signature);
    REQUIRE(secp256k1::ecdsa_recover_vartime(digest, *signature) == root);
    REQUIRE_FALSE(Scalar::decode(signature->s)->is_high_vartime());
    REQUIRE(libsecp256k1_verifies(root, digest, *signature));
    ++seen.at(signature->recovery_id);
  }
  CHECK(seen[0] > cases / 4);
  CHECK(seen[1] > cases / 4);
  CHECK(seen[2] + seen[3] == 0);  // x(R) ≥ q happens once in 2^127
}

TEST_CASE("checklist: 10,000 random recovery ids of the assembly alone") {
  // The assembly fed with shares of a known key: cheap enough for the full number in every run.
  SeededRandom random(43);
  const SecretScalar secret = SecretScalar::random(random);
  const Point key = *Point::generator_times(secret);
  std::array<int, 4> seen{};
  for (int i = 0; i < 10'000; ++i) {
    const SecretScalar r = SecretScalar::random(random);
    const MessageDigest digest = random.bytes<MessageDigest>();
    const Point nonce = *Point::generator_times(r);
    std::vector<SignatureShare> shares;
    SecretScalar phi_sum;
    for (int signer = 0; signer < 2; ++signer) {
      SecretScalar phi = SecretScalar::random(random);
      phi_sum = phi_sum + phi;
      shares.push_back(SignatureShare::make(
          Presignature(Digest(), {1, 2}, nonce, r * phi, secret * phi, phi.duplicate()), digest,
          Scalar(), Scalar(), nonce_point(nonce)->x));
    }
    const auto signature = assemble(nonce, shares, digest, key);
    REQUIRE(signature);
    REQUIRE(secp256k1::ecdsa_recover_vartime(digest, *signature) == key);
    REQUIRE_FALSE(Scalar::decode(signature->s)->is_high_vartime());
    ++seen.at(signature->recovery_id);
  }
  CHECK(seen[0] > 4'000);
  CHECK(seen[1] > 4'000);
  CHECK(seen[2] + seen[3] == 0);
}

TEST_CASE("checklist: forced x_over: x(R) ≥ q sets bit 1 of the recovery id, for both parities") {
  // No discrete logarithm of such an R is known, so R is mocked by its encoding. x = q + 2 is below
  // the field's order; r = 2.
  for (const std::uint8_t parity : std::array<std::uint8_t, 2>{2, 3}) {
    Bytes<33> encoded = *Bytes<33>::from(
        *from_hex("02fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364143"));
    encoded.data[0] = parity;
    const auto nonce = nonce_point(encoded);
    REQUIRE(nonce);
    CHECK(nonce->x_overflowed);
    CHECK(nonce->x == Scalar::from_u64(2));
    const SignatureShare low{Scalar::from_u64(5), Scalar::from_u64(1)};
    const auto signature = combine_shares(*nonce, std::vector{low});
    REQUIRE(signature);
    CHECK(signature->recovery_id == (parity == 3 ? 3 : 2));
    const SignatureShare high{-Scalar::from_u64(5), Scalar::from_u64(1)};
    const auto negated = combine_shares(*nonce, std::vector{high});
    REQUIRE(negated);
    CHECK(negated->s == signature->s);
    CHECK(negated->recovery_id == (parity == 3 ? 2 : 3));
  }
  // x(R) = q gives r = 0: no signature.
  CHECK_FALSE(nonce_point(*Bytes<33>::from(
      *from_hex("02fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"))));
}

TEST_CASE("checklist: Σu = 0 from a malicious party is a clean error") {
  const Point nonce = Point::generator();
  const SignatureShare honest{Scalar::from_u64(7), Scalar::from_u64(9)};
  const SignatureShare crafted{Scalar::from_u64(7), -Scalar::from_u64(9)};
  CHECK_FALSE(combine_shares(*nonce_point(nonce), std::vector{honest, crafted}));
  const auto result = assemble(nonce, std::vector{honest, crafted}, MessageDigest(), nonce);
  REQUIRE_FALSE(result);
  CHECK(result.error().abort_class == AbortClass::kUnattributable);
  // s = 0 likewise.
  const SignatureShare no_s{-Scalar::from_u64(7), Scalar::from_u64(9)};
  CHECK_FALSE(combine_shares(*nonce_point(nonce), std::vector{honest, no_s}));
}

TEST_CASE("a key is signed for at a path, and only there") {
  const Key& key = shared_key(3, 5);
  SeededRandom random(60);
  const bip32::Path path{44, 60, 0, 0, 5};
  const Digest digest = digest_of("at a path");
  const ByteVector signature = run_sign(key, {1, 3, 5}, digest, random, path).signature(1);
  check_signature(signature, child_of(key, path), digest);
  CHECK_FALSE(verify_signature_vartime(Scheme::kEcdsaSecp256k1, key.at(1).record.public_key, digest,
                                       signature));
  SignParameters hardened = sign_parameters(key, 1, 1, digest, {bip32::kHardened});
  CHECK_FALSE(cosigner::make_sign(hardened, random));
}

TEST_CASE("presignatures sign any message at any path, re-randomised") {
  const Key& key = shared_key(3, 5);
  SeededRandom random(61);
  const Digest digest = digest_of("presigned");
  for (const bip32::Path& path : {bip32::Path{}, bip32::Path{7, 8}}) {
    auto pool = presign(key, {2, 3, 4}, random);
    CHECK(pool.at(2).id() == pool.at(3).id());
    CHECK(pool.at(2).signers() == Signers{2, 3, 4});
    const Bytes<33> nonce = pool.at(2).nonce().encode();
    const RunReport report = run_presigned(key, std::move(pool), digest, random, path);
    check_signature(report.signature(2), child_of(key, path), digest);
    // Groth–Shoup: the nonce that signs is not the one that was made beforehand.
    CHECK_FALSE(std::ranges::equal(EcdsaSignature::decode(report.signature(2))->r.view(),
                                   nonce.view().subspan(1)));
  }
}

TEST_CASE("any order of delivery, starts one after the other, doubled messages") {
  const Key& key = shared_key(3, 5);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    SeededRandom random(seed);
    ProtocolRunner runner;
    runner.shuffle_seed = seed;
    runner.staggered_start = seed % 2 == 0;
    runner.hook = [](Envelope& envelope) { envelope.copies = envelope.round == 0 ? 1 : 2; };
    const Digest digest = digest_of("in any order");
    add_signers(runner, key, {1, 2, 4}, digest, random);
    RunReport report = runner.run();
    REQUIRE_FALSE(report.any_abort());
    check_signature(report.signature(1), root_of(key), digest);
  }
}

TEST_CASE("the assembler may be any signer, parameters that do not fit are refused") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(62);
  const Digest digest = digest_of("assembled by the last");
  ProtocolRunner runner;
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{3}}) {
    runner.add(i, cosigner::make_sign(sign_parameters(key, i, 3, digest), random).value());
  }
  RunReport report = runner.run();
  check_signature(report.signature(3), root_of(key), digest);
  CHECK_FALSE(report.at(1).outcome);

  CHECK_FALSE(cosigner::make_sign(sign_parameters(key, 1, 1, ByteVector(31)), random));
  CHECK_FALSE(cosigner::make_sign(sign_parameters(key, 1, 1, ByteVector(33)), random));
  CHECK_FALSE(make_presign(sign_parameters(key, 1, 1, digest), random));
  SignParameters other = sign_parameters(key, 1, 1, digest);
  other.secret = as_view(key.at(2).secret);
  CHECK_FALSE(cosigner::make_sign(other, random));
  other.secret = as_view(key.at(1).secret).first(20);
  CHECK_FALSE(cosigner::make_sign(other, random));
}
