// Key generation on secp256k1 against a participant that keeps to the format and lies inside it:
// in the OT set-up's answer, which travels encrypted, and in its polynomial.
#include <catch2/catch.hpp>

#include "crypto/dkg/dkg.h"
#include "crypto/dkls23/pair_setup.h"
#include "crypto/dkls23/pprf.h"
#include "crypto/ed25519/group.h"
#include "tests/support/secp256k1_encodings.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {

/// The OT set-up of an honest participant, but for its answer.
class LyingSetup final : public DkgExtension {
 public:
  using Change = std::function<void(SecretVector& answer)>;
  LyingSetup(Random& random, Change change) : random_(random), change_(std::move(change)) {}

  std::size_t round1_limit() const override { return kSetupFirstBytes; }
  std::size_t round2_limit() const override { return kSetupAnswerBytes; }
  Result<void> begin(const Digest& sid, ParticipantIndex self,
                     std::span<const ParticipantIndex> peers) override {
    setup_.emplace(sid, self, peers.front(), random_);
    return {};
  }
  Result<ByteVector> round1_for(ParticipantIndex) override { return setup_->first_message(); }
  Result<void> on_round1(ParticipantIndex, ByteView payload) override {
    answer_ = setup_->answer(payload, random_).value();
    return {};
  }
  Result<SecretVector> round2_for(ParticipantIndex) override {
    change_(answer_);
    return answer_;
  }
  Result<void> on_round2(ParticipantIndex, ByteView) override { return {}; }
  Result<SecretVector> finish() override { return SecretVector(); }

 private:
  Random& random_;
  Change change_;
  std::optional<PairSetup> setup_;
  SecretVector answer_;
};

/// What participant 2 makes of 1's answer. 2 of 2.
std::optional<Abort> answered_with(const LyingSetup::Change& change) {
  SeededRandom random(70);
  ProtocolRunner runner;
  runner.add(1,
             std::make_unique<Dkg<Secp256k1Group>>(
                 keygen_parameters(2, 2, 1), std::make_unique<LyingSetup>(random, change), random));
  runner.add(2, cosigner::make_keygen(keygen_parameters(2, 2, 2), random).value());
  RunReport report = runner.run();
  CHECK(report.at(2).outcome.has_value() != report.at(2).abort.has_value());
  return report.at(2).abort;
}

void check_class(const std::optional<Abort>& abort, AbortClass expected) {
  REQUIRE(abort);
  INFO(abort->reason);
  CHECK(abort->abort_class == expected);
  CHECK(abort->culprits == std::vector<ParticipantIndex>{1});
}

LyingSetup::Change flip(std::size_t at) {
  return [=](SecretVector& answer) { answer.at(at) ^= 1U; };
}

}  // namespace

TEST_CASE("checklist: a PPRF check that fails in key generation is class C, against its builder") {
  CHECK_FALSE(answered_with([](SecretVector&) {}));
  // A group's message: corrections (32 bytes), s̃ (32), t̃ (32). Which of the two corrections is
  // used depends on the evaluator's choice; so both are altered.
  for (const std::size_t group : {std::size_t{0}, kGroups / 2, kGroups - 1}) {
    const std::size_t at = kBaseOtMessageBytes + group * kPprfGroupBytes;
    CAPTURE(group);
    check_class(answered_with([=](SecretVector& answer) {
                  answer.at(at) ^= 1U;
                  answer.at(at + kSeedBytes) ^= 1U;
                }),
                AbortClass::kBurn);
    check_class(answered_with(flip(at + 32)), AbortClass::kBurn);
    check_class(answered_with(flip(at + 64)), AbortClass::kBurn);
  }
  // Another valid base OT answer: other keys, and so other leaves.
  check_class(answered_with([](SecretVector& answer) {
                const auto point = Point::generator().encode();
                std::ranges::copy(point.data, answer.begin());
                std::ranges::copy(point.data, answer.begin() + 33);
              }),
              AbortClass::kBurn);
}

TEST_CASE("checklist: bad encodings in a key generation's base OT answer are class A") {
  for (const std::size_t slot : {std::size_t{0}, kLambda, 2 * kLambda - 1}) {
    for (const cosigner::test::BadEncoding& bad : cosigner::test::kBadSecp256k1Points) {
      INFO("slot " << slot << ": " << bad.name);
      check_class(answered_with([&](SecretVector& answer) {
                    std::ranges::copy(*from_hex(bad.hex),
                                      answer.begin() + static_cast<std::ptrdiff_t>(slot * 33));
                  }),
                  AbortClass::kRecoverable);
    }
  }
  check_class(answered_with([](SecretVector& answer) { answer.pop_back(); }),
              AbortClass::kRecoverable);
  check_class(answered_with([](SecretVector& answer) { answer.clear(); }),
              AbortClass::kRecoverable);
}

namespace {

/// What 1 says when 2 opens the polynomial that `choose` makes of 1's, as if 2 had guessed it.
template <class Group>
Result<Messages> opened_against(Scheme scheme,
                                const std::function<std::vector<typename Group::SecretScalar>(
                                    const std::vector<typename Group::SecretScalar>&)>& choose) {
  KeygenParameters parameters = keygen_parameters(2, 2, 1);
  parameters.scheme = scheme;
  SeededRandom random(71);
  const auto victim = cosigner::make_keygen(parameters, random).value();
  SeededRandom same(71);  // a key generation draws its polynomial first
  const auto theirs = SecretPolynomial<Group>::random(2, same);
  const SecretPolynomial<Group> ours(choose(theirs.coefficients()));

  SeededRandom liars(72);
  parameters.self = 2;
  DkgOpening<Group> opening;
  opening.vector = ours.feldman_vector();
  std::vector<ByteVector> encoded;
  for (const auto& point : opening.vector) {
    encoded.push_back(to_vector(Group::encode(point)));
  }
  DkgHello hello;
  hello.nonce = liars.bytes<Bytes<32>>();
  hello.commitment =
      dkg_commitment(parameters, 2, encoded, opening.chain_code_share, opening.blinding);
  hello.encryption_key = x25519_public_key(liars.secret<32>());
  const Digest binding = digest_of("binding");
  const std::vector<SetMember> set{{1, victim->hello()}, {2, hello.encode()}};
  const Digest sid = dkg_sid(parameters, binding, set);
  opening.echo = dkg_echo(sid, 0, parameters.participants, std::vector{set[0].hello, set[1].hello});
  for (std::size_t k = 0; k < 2; ++k) {
    opening.proofs.push_back(SchnorrProof<Group>::prove(
        dkg_coefficient_statement(sid, 2, k), ours.coefficients()[k], opening.vector[k], liars));
  }
  ByteVector direct;
  if (scheme == Scheme::kEcdsaSecp256k1) {
    direct = PairSetup(sid, 2, 1, liars).first_message();
  }
  REQUIRE(victim->start(set, binding));
  return victim->receive(2, 1, DkgRoundMessage::encode(opening.encode(), direct));
}

template <class Group>
void check_identities(Scheme scheme) {
  using Secret = typename Group::SecretScalar;
  using Coefficients = std::vector<Secret>;
  const auto minus = [](const Secret& secret) { return secret * -Group::scalar(1); };
  const auto plus = [](const Secret& secret, const typename Group::Scalar& by) {
    return secret + Group::decode_secret(ByteView(Group::encode(by))).value();
  };
  const auto check = [&](const std::function<Coefficients(const Coefficients&)>& choose,
                         const char* reason) {
    const auto result = opened_against<Group>(scheme, choose);
    REQUIRE_FALSE(result);
    CHECK(result.error().abort_class == AbortClass::kUnattributable);
    CHECK(result.error().culprits.empty());
    CHECK(result.error().reason == reason);
  };
  // f = f_1 + f_2 is x + 5: nothing vanishes at 1 or 2, and the victim deals its shares.
  const auto fine = opened_against<Group>(scheme, [&](const Coefficients& f) {
    Coefficients out;
    out.push_back(plus(minus(f[0]), Group::scalar(5)));
    out.push_back(plus(minus(f[1]), Group::scalar(1)));
    return out;
  });
  REQUIRE(fine);
  CHECK_FALSE(fine->empty());
  check(
      [&](const Coefficients& f) {  // x − 2, which vanishes at 2
        Coefficients out;
        out.push_back(plus(minus(f[0]), -Group::scalar(2)));
        out.push_back(plus(minus(f[1]), Group::scalar(1)));
        return out;
      },
      "a public share is the identity");
  check(
      [&](const Coefficients& f) {  // x: the key itself is the identity
        Coefficients out;
        out.push_back(minus(f[0]));
        out.push_back(plus(minus(f[1]), Group::scalar(1)));
        return out;
      },
      "a coefficient of the group polynomial is the identity");
  check(
      [&](const Coefficients& f) {  // 1: a lower degree
        Coefficients out;
        out.push_back(plus(minus(f[0]), Group::scalar(1)));
        out.push_back(minus(f[1]));
        return out;
      },
      "a coefficient of the group polynomial is the identity");
}

}  // namespace

TEST_CASE("ToB-3: a group polynomial with a value that is the identity ends a key generation") {
  check_identities<Secp256k1Group>(Scheme::kEcdsaSecp256k1);
  check_identities<Ed25519Group>(Scheme::kEd25519);
}
