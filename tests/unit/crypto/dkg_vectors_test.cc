// The key generation vectors that the Zcash Foundation's FROST crates publish for Ed25519
// (frost-ed25519/tests/helpers/vectors_dkg.json), 2 of 3. Our protocol differs (its proofs are
// bound to a session, its shares travel otherwise), so these check its parts: polynomial, Feldman
// vector, share check, sums; and, by a computation made here alone, the published proofs of
// knowledge.
#include <array>
#include <catch2/catch.hpp>

#include "crypto/dkg/polynomial.h"
#include "crypto/ed25519/group.h"
#include "crypto/ed25519/sha512.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using Group = Ed25519Group;
using Polynomial = SecretPolynomial<Group>;

namespace {

struct Received {
  ParticipantIndex from;
  std::string_view share;
};
struct Participant {
  ParticipantIndex index;
  std::string_view constant, coefficient;
  std::array<std::string_view, 2> vector;
  std::array<std::string_view, 2> proof;  // R, μ
  std::array<Received, 2> received;
  std::string_view share;
  std::string_view public_share;
};

constexpr std::string_view kPublicKey =
    "3d9a67b93cec3acad2d32349cf7bdffaa23ae031a81174ddadae1c96bb455f4d";

constexpr std::array kParticipants{
    Participant{1,
                "fc36bff380c95d607cd78080f493dd382df50f7007ec1b150b9bfbd8041fd208",
                "2d2c3e2b558e555b1608838e0ded66cd36d8aaa9ed1e39ce8474855d0825b20e",
                {"db67948a73033b0c886ed757d97352428df05ad5803aff256bc388c9a0772bfe",
                 "6a25b55a80a287826fbc3ef4d978d15f98f4f573f4d96e798a970780c644f14c"},
                {"64c41c1d0417aef33576c23a5150de2921d6249d7086b10012f942405fc08ed5",
                 "1a872dd021db2ac01e9f4182e950324c5f563421bd835f3f514a60c975cab70c"},
                {Received{2, "ebb85acf4d46173f519a8680eac89f567d3f4a568843b741b251cc2f3d112b05"},
                 Received{3, "f088e2c4b3a7f81836968c642721031ed8828d2e3d532fecaa85c481e445000c"}},
                "2afd4ef9a27f9e636dd627ae56772951b98f929ebaa13b11ede611e82e9baf08",
                "f6b5e87c902796d8dab6369cbd6d342a32e46c136e9f1f5af2fc385aed804de3"},
    Participant{2,
                "2b76dcb99b75fbada4ffdc213b1ae4ec7c1b2a5da25d9ea85741a3ab376ca307",
                "ad167472cc332ee98237a1018ea89a7e002420f9e5e518995a10298405a5870d",
                {"17194e192408980956a9cfc388d38456b2e9619c42a57196facd7feaf980a3bd",
                 "0b560ce2f1130dc7066fc47f6e3f1858ef553faf6bbc19d3cd2a502052f95ae5"},
                {"4062dc7fc11144e636f4eddd7f2d8d3e02761671ae913674314a12b91f50bf98",
                 "e9c410d651c45c3a1766c88524fccb7670de191e12686324c59333e74fc93402"},
                {Received{1, "7ce74f90f61fe466fcad9757527aeda99aa565c3e2298eb11484069415693606"},
                 Received{3, "7fde55b354d5d8dddc940fe932de5d1a6110b9bc4edeba2db7b32c34074d3a0a"}},
                "b9ed88cb30a9ddbc00dbdf7c40d6c76f791989cf9f3119bad899287c5f6c2303",
                "f326b756ed38b43a94bdac698e044d9e3f3a08a40e7c9d2e5346dd5bfaadf2f5"},
    Participant{3,
                "61336fd6127a18548f9709e01b64a8214ff561a02bc8a3aa9e575ccfc13ec60d",
                "7c29694bbb90f21c7d9b7a27eab63911898d2b8e118b8b410c2e68b222073a0e",
                {"0e9c22b9edbcd06757eee5ba3cfeb74e4fa6470932aa1ab689c86f1fe3dde70c",
                 "0ae6e3e6ff1d612adb5cabb425ee51f2be9952467ce9b6d83095322909a42dd7"},
                {"37df5a836ceaaf9f5e3b9ae6a485bad5c15788f3883386fe43f2921bbe2cb987",
                 "d23683ca18973065a00d69bbf74f7961889b820e64f98878df7844a4e4785907"},
                {Received{1, "bc3f985e314b276a3c192343816d7562d17d106dd048c77f99f88bf11d8ee804"},
                 Received{2, "6b3e57fab1e74e61aacfd93d4926172a7e878a48540fe97367721e38485b3a00"}},
                "35b2b8fad8352f6e6a7c8fee082f45a339a37f0085c1f662c44c3f10903d970d",
                "6bc91a2755902d955ce220ad0df6fbf57162260949d40bcf5a69cfffec9c085a"},
};

ByteVector hex(std::string_view text) {
  return from_hex(text).value();
}
Polynomial polynomial_of(const Participant& p) {
  std::vector<ed25519::SecretScalar> coefficients;
  coefficients.push_back(ed25519::SecretScalar::decode(hex(p.constant)).value());
  coefficients.push_back(ed25519::SecretScalar::decode(hex(p.coefficient)).value());
  return Polynomial(std::move(coefficients));
}

}  // namespace

TEST_CASE("published DKG vectors, Ed25519: Feldman vectors, shares, sums, public shares, key") {
  std::array<std::vector<ed25519::Point>, 2> columns;
  for (const Participant& p : kParticipants) {
    const auto vector = polynomial_of(p).feldman_vector();
    REQUIRE(vector.size() == 2);
    for (std::size_t k = 0; k < 2; ++k) {
      CHECK(to_hex(vector[k].view()) == p.vector[k]);
      columns[k].push_back(vector[k]);
    }
  }
  const std::vector<ed25519::Point> sum{*Group::sum(columns[0]), *Group::sum(columns[1])};
  CHECK(to_hex(sum[0].view()) == kPublicKey);
  for (const Participant& p : kParticipants) {
    auto share = polynomial_of(p).evaluate(p.index);
    for (const Received& received : p.received) {
      const Participant& dealer = kParticipants[received.from - 1U];
      const auto dealt = polynomial_of(dealer).evaluate(p.index);
      CHECK(to_hex(dealt.expose()) == received.share);
      const auto vector = polynomial_of(dealer).feldman_vector();
      CHECK(share_fits_vartime<Group>(dealt, vector, p.index));
      CHECK_FALSE(share_fits_vartime<Group>(dealt, vector, received.from));
      share = share + dealt;
    }
    CHECK(to_hex(share.expose()) == p.share);
    CHECK(to_hex(evaluate_vartime<Group>(sum, p.index)->view()) == p.public_share);
    CHECK(to_hex(Group::multiply_base(share)->view()) == p.public_share);
  }
}

TEST_CASE("published DKG vectors, Ed25519: proofs of knowledge by HDKG") {
  for (const Participant& p : kParticipants) {
    ed25519::Sha512 hash;
    hash.update(as_bytes("FROST-ED25519-SHA512-v1dkg"))
        .update(Group::scalar(p.index).view())
        .update(hex(p.vector[0]))
        .update(hex(p.proof[0]));
    const auto challenge = ed25519::Scalar::reduce(hash.finish().data);
    const auto key = ed25519::Point::decode(hex(p.vector[0])).value();
    const auto nonce = ed25519::Point::decode(hex(p.proof[0])).value();
    const auto response = ed25519::Scalar::decode(hex(p.proof[1])).value();
    CHECK(Group::multiply_base_vartime(response) ==
          Group::sum(std::array{nonce, *Group::multiply_vartime(challenge, key)}));
  }
}

TEST_CASE("a Feldman vector whose value is the identity is an error, not a crash") {
  SeededRandom random(3);
  // F(x) = P − x·(P/2), which vanishes at x = 2.
  const auto point = *Group::multiply_base(ed25519::SecretScalar::random(random));
  const auto half = *Group::scalar(2).inverse_vartime();
  const std::vector<ed25519::Point> vector{point,
                                           Group::negate(*Group::multiply_vartime(half, point))};
  CHECK_FALSE(evaluate_vartime<Group>(vector, 2));
  CHECK(evaluate_vartime<Group>(vector, 1));
  CHECK(share_fits_vartime<Group>(ed25519::SecretScalar(), vector, 2));
}
