// Whole signatures: every size and subset, two independent verifiers, recovery ids, paths,
// presignatures.

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include <catch2/catch.hpp>

#include "tests/support/full.h"
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

void check_signature(const ByteVector& encoded, const Point& key, const Digest& digest) {
  const auto signature = EcdsaSignature::decode(encoded);
  REQUIRE(signature);
  const MessageDigest message = *MessageDigest::from(digest);
  CHECK(secp256k1::ecdsa_verify_vartime(key, message, *signature));
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
