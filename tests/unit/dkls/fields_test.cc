// Every field of every message of ECDSA key generation, signing, presigning, signing with a
// presignature and renewal, altered in every way: the typed answer, the right name, and a check
// left open by burns only. Participant 1 is real and alone; what 2 says was recorded and is
// replayed to the same 1, so that an alteration costs one participant's work and not a run's.
#include <catch2/catch.hpp>
#include <set>

#include "crypto/base/seal.h"
#include "crypto/dkls23/pair_setup.h"
#include "crypto/dkls23/sign_messages.h"
#include "tests/support/secp256k1_encodings.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/crypto/field_mutations.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;
using namespace cosigner::test;

namespace {

constexpr ParticipantIndex kVictim = 1;
constexpr ParticipantIndex kLiar = 2;
const Digest kFieldMessage = digest_of("field by field");

/// What the victim makes of a field that parses and has another value.
enum class Then {
  kMalformed,       ///< class A, and the sender is named
  kNobody,          ///< class A: two participants disagree, and either may be lying
  kAttributable,    ///< class B
  kBurn,            ///< class C
  kUnattributable,  ///< class D
  kUnnoticed,       ///< only its sender can tell, and does: see state_test.cc and attack_test.cc
};

/// One field, or an array of `count` fields, of which the first, middle and last are altered. The
/// fields of a message follow one another without a gap.
struct Item {
  const char* name;
  std::size_t size;
  FieldKind kind;
  Then replaced;
  std::size_t count = 1;
  Then unparsable = Then::kMalformed;
  bool common = false;  ///< see common()
};

/// A hash over what all of them have seen, or the name of something they share: every honest party
/// of a session says the same, so there is no other party's value to put in its place.
constexpr Item common(const char* name, Then replaced) {
  return {name, 32, FieldKind::kBytes, replaced, 1, Then::kMalformed, true};
}
using Layout = std::map<std::uint8_t, std::vector<Item>>;  // round 0 is the hello

using Make = std::function<std::unique_ptr<Protocol>(ParticipantIndex, Random&)>;

struct Ending {
  std::optional<Abort> abort;
  bool finished = false;
  bool open_check = false;
};

/// A protocol between the two, recorded once.
class Conversation {
 public:
  Conversation(Make make, std::uint64_t seed) : make_(std::move(make)), seed_(seed) {
    SeededRandom victims(seed_);
    SeededRandom liars(seed_ + 1'000);
    ProtocolRunner runner;
    runner.add(kVictim, make_(kVictim, victims));
    runner.add(kLiar, make_(kLiar, liars));
    runner.hook = [&](Envelope& envelope) {
      if (envelope.from == kLiar && envelope.to == kVictim) {
        said_[envelope.round] = envelope.payload;
      } else if (envelope.from == kVictim && envelope.to == kLiar) {
        answered_[envelope.round] = envelope.payload;
      }
    };
    binding_ = runner.binding;
    REQUIRE_FALSE(runner.run().any_abort());
  }

  [[nodiscard]] const std::map<std::uint8_t, ByteVector>& said() const { return said_; }
  /// What the other party of the session, the victim, said in the same rounds.
  [[nodiscard]] const std::map<std::uint8_t, ByteVector>& answered() const { return answered_; }

  /// The victim once more, with one message replaced.
  [[nodiscard]] Ending replay(std::uint8_t altered, const ByteVector& payload) const {
    const auto said = [&](std::uint8_t round) -> const ByteVector& {
      return round == altered ? payload : said_.at(round);
    };
    SeededRandom random(seed_);
    Watch watch;
    const auto victim = make_(kVictim, random);
    victim->observe_checks(&watch);
    Ending out;
    const auto settle = [&](const Result<Messages>& result) {
      if (!result) {
        out.abort = result.error();
      } else if (auto failure = victim->take_failure()) {
        out.abort = std::move(failure);
      }
      out.finished = out.finished || victim->take_outcome().has_value();
      return !out.abort;
    };
    bool going = settle(victim->start(
        std::array{SetMember{kVictim, victim->hello()}, SetMember{kLiar, said(0)}}, binding_));
    for (auto one = said_.upper_bound(0); going && one != said_.end(); ++one) {
      going = settle(victim->receive(kLiar, one->first, said(one->first)));
    }
    if (auto* presign = dynamic_cast<PresignProtocol*>(victim.get()); presign != nullptr) {
      out.finished = out.finished || presign->take_presignature().has_value();
    }
    out.open_check = !watch.open.empty();
    return out;
  }

 private:
  Make make_;
  std::uint64_t seed_;
  Digest binding_;
  std::map<std::uint8_t, ByteVector> said_;
  std::map<std::uint8_t, ByteVector> answered_;
};

void check(const Ending& ending, Then expected) {
  CHECK(ending.open_check == (expected == Then::kBurn));
  if (expected == Then::kUnnoticed) {
    CHECK(ending.finished);
    return;
  }
  CHECK_FALSE(ending.finished);
  REQUIRE(ending.abort);
  INFO(ending.abort->reason);
  const bool names = expected != Then::kNobody && expected != Then::kUnattributable;
  CHECK(ending.abort->culprits ==
        (names ? std::vector<ParticipantIndex>{kLiar} : std::vector<ParticipantIndex>{}));
  const AbortClass wanted = expected == Then::kAttributable     ? AbortClass::kAttributable
                            : expected == Then::kBurn           ? AbortClass::kBurn
                            : expected == Then::kUnattributable ? AbortClass::kUnattributable
                                                                : AbortClass::kRecoverable;
  CHECK(ending.abort->abort_class == wanted);
}

/// Goes through the table. The victim hears its own values back as well, as far as it said any in
/// that round. It assembles, so it says nothing in the last round of a signature; `reversed` is the
/// same protocol with the liar assembling, in which it does.
void every_field(const Layout& layout, const Make& make, const Make& reversed = {}) {
  const Conversation honest(make, 51);
  const Conversation foreign(make, 52);
  std::map<std::uint8_t, ByteVector> of_other_party = honest.answered();
  if (reversed) {
    of_other_party.merge(std::map(Conversation(reversed, 51).answered()));
  }
  REQUIRE(honest.said().size() == layout.size());
  check(honest.replay(0, honest.said().at(0)), Then::kUnnoticed);  // as it was said
  for (const auto& [round, items] : layout) {
    const ByteVector& payload = honest.said().at(round);
    const ByteVector& others = of_other_party.at(round);
    REQUIRE(others.size() == payload.size());
    const bool same_session = honest.answered().contains(round);
    std::size_t offset = 0;
    for (const Item& item : items) {
      std::set<std::size_t> elements{0, item.count / 2, item.count - 1};
      for (const std::size_t element : elements) {
        const Field field{item.name, offset + element * item.size, item.size, item.kind,
                          Blame::kNobody};
        // Counts are constants of the protocol, the same in every message of that round.
        INFO("round " << int{round} << ", " << item.name << " " << element);
        const bool same = std::ranges::equal(slice(payload, field), slice(others, field));
        CHECK(same == ((item.common && same_session) || item.kind == FieldKind::kCount));
        const auto mutations = mutations_of(
            payload, field,
            {{"another session's", foreign.said().at(round)}, {"another party's", others}},
            kSecp256k1Encodings);
        CHECK(mutations.size() > 4);
        for (const FieldMutation& mutation : mutations) {
          INFO(mutation.name);
          // A cut is always malformed; a value that no field may have, as the table says.
          const bool of_another_length = mutation.payload.size() != payload.size();
          check(honest.replay(round, mutation.payload), mutation.blame == Blame::kNobody
                                                            ? item.replaced
                                                        : of_another_length ? Then::kMalformed
                                                                            : item.unparsable);
        }
      }
      offset += item.count * item.size;
    }
    INFO("round " << int{round});
    CHECK(offset == payload.size());  // no field is left out
  }
}

const Key& key() {
  return shared_key(2, 2);
}

constexpr std::size_t kBaseOtPoints = 2 * kLambda;

const Layout kSignLayout{{0,
                          {{"nonce", 32, FieldKind::kBytes, Then::kNobody},
                           {"commitment", 32, FieldKind::kBytes, Then::kNobody}}},
                         {1,
                          {common("echo", Then::kNobody),
                           common("pair id", Then::kNobody),
                           {"u", kRowBytes, FieldKind::kBytes, Then::kBurn, kGroups},
                           {"x", 16, FieldKind::kBytes, Then::kBurn},
                           {"t", 16, FieldKind::kBytes, Then::kBurn, kLambda}}},
                         {2,
                          {common("echo", Then::kNobody),
                           {"R", 33, FieldKind::kPoint, Then::kAttributable},
                           {"blinding", 32, FieldKind::kBytes, Then::kAttributable},
                           {"pk", 33, FieldKind::kPoint, Then::kBurn},
                           {"gamma u", 33, FieldKind::kPoint, Then::kBurn},
                           {"gamma v", 33, FieldKind::kPoint, Then::kBurn},
                           {"psi", 32, FieldKind::kScalar, Then::kUnattributable},
                           {"a", 32, FieldKind::kScalar, Then::kBurn, kOtCount* kWidth},
                           {"eta", 32, FieldKind::kScalar, Then::kBurn},
                           {"hash of mu", 32, FieldKind::kBytes, Then::kBurn}}},
                         {3,
                          {common("echo", Then::kNobody),
                           {"w", 32, FieldKind::kScalar, Then::kUnattributable},
                           {"u", 32, FieldKind::kScalar, Then::kUnattributable}}}};

}  // namespace

TEST_CASE("fields: ECDSA key generation") {
  every_field(
      {{0,
        {{"nonce", 32, FieldKind::kBytes, Then::kNobody},
         {"commitment", 32, FieldKind::kBytes, Then::kNobody},
         {"encryption key", 32, FieldKind::kAgreementKey, Then::kNobody}}},
       {1,
        {{"broadcast length", 4, FieldKind::kCount, Then::kMalformed},
         common("echo", Then::kNobody),
         {"vector length", 2, FieldKind::kCount, Then::kMalformed},
         {"F", 33, FieldKind::kPoint, Then::kAttributable, 2},
         {"number of proofs", 2, FieldKind::kCount, Then::kMalformed},
         // A proof's point is never decoded: verification recomputes and compares it.
         {"A[0]", 33, FieldKind::kPoint, Then::kAttributable, 1, Then::kAttributable},
         {"z[0]", 32, FieldKind::kScalar, Then::kAttributable},
         {"A[1]", 33, FieldKind::kPoint, Then::kAttributable, 1, Then::kAttributable},
         {"z[1]", 32, FieldKind::kScalar, Then::kAttributable},
         {"chain-code share", 32, FieldKind::kBytes, Then::kAttributable},
         {"blinding", 32, FieldKind::kBytes, Then::kAttributable},
         {"direct length", 4, FieldKind::kCount, Then::kMalformed},
         // The victim answers it like any other, and the transcript covers the answer; the sender,
         // were it to go on, would find its PPRF check failing.
         {"base OT message", 33, FieldKind::kPoint, Then::kNobody, kBaseOtPoints}}},
       {2,
        {{"broadcast length", 4, FieldKind::kCount, Then::kMalformed},
         common("aggregate", Then::kAttributable),
         common("echo", Then::kNobody),
         {"number of hashes", 2, FieldKind::kCount, Then::kMalformed},
         {"hash", 32, FieldKind::kBytes, Then::kAttributable},
         {"direct length", 4, FieldKind::kCount, Then::kMalformed},
         {"ciphertext", 32 + kSetupAnswerBytes + kAeadTagSize, FieldKind::kBytes,
          Then::kAttributable}}},
       {3,
        {{"kind", 1, FieldKind::kCount, Then::kMalformed},
         common("transcript", Then::kNobody),
         {"S", 33, FieldKind::kPoint, Then::kAttributable},
         {"A", 33, FieldKind::kPoint, Then::kAttributable, 1, Then::kAttributable},
         {"z", 32, FieldKind::kScalar, Then::kAttributable}}}},
      [](ParticipantIndex self, Random& random) {
        return cosigner::make_keygen(dkls23::test::keygen_parameters(2, 2, self), random).value();
      });
}

TEST_CASE("fields: ECDSA signing") {
  const auto assembled_by = [](ParticipantIndex assembler) -> Make {
    return [assembler](ParticipantIndex self, Random& random) {
      return cosigner::make_sign(
                 dkls23::test::sign_parameters(key(), self, assembler, kFieldMessage), random)
          .value();
    };
  };
  every_field(kSignLayout, assembled_by(kVictim), assembled_by(kLiar));
}

TEST_CASE("fields: presigning") {
  Layout layout = kSignLayout;
  layout.erase(3);
  // A false ψ spoils the presignature; the signature made with it shows that.
  layout.at(2).at(6).replaced = Then::kUnnoticed;
  every_field(layout, [](ParticipantIndex self, Random& random) {
    return make_presign(dkls23::test::sign_parameters(key(), self, kVictim, {}), random).value();
  });
}

TEST_CASE("fields: signing with a presignature") {
  const auto assembled_by = [](ParticipantIndex assembler) -> Make {
    return [assembler](ParticipantIndex self, Random& random) {
      SeededRandom same(60);
      auto pool = presign(key(), {kVictim, kLiar}, same);
      return make_presigned_sign(
                 dkls23::test::sign_parameters(key(), self, assembler, kFieldMessage),
                 std::move(pool.at(self)), random.bytes<Bytes<32>>())
          .value();
    };
  };
  every_field({{0,
                {common("presignature id", Then::kNobody),
                 {"nonce", 32, FieldKind::kBytes, Then::kNobody}}},
               {1, kSignLayout.at(3)}},
              assembled_by(kVictim), assembled_by(kLiar));
}

TEST_CASE("fields: renewal") {
  every_field(
      {{0,
        {{"nonce", 32, FieldKind::kBytes, Then::kNobody},
         {"encryption key", 32, FieldKind::kAgreementKey, Then::kNobody}}},
       {1,
        {common("echo", Then::kNobody),
         {"base OT message", 33, FieldKind::kPoint, Then::kUnnoticed, kBaseOtPoints}}},
       {2,
        {{"sealed answer", kSetupAnswerBytes + kAeadTagSize, FieldKind::kBytes, Then::kMalformed}}},
       {3, {common("pair id", Then::kMalformed)}}},
      [](ParticipantIndex self, Random& random) {
        return make_renewal({.record = key().at(self).record,
                             .secret = as_view(key().at(self).secret),
                             .context = digest_of("a renewal"),
                             .self = self,
                             .peer = static_cast<ParticipantIndex>(3 - self)},
                            random)
            .value();
      });
}
