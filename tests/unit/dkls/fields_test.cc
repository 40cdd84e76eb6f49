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
};
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
      }
    };
    binding_ = runner.binding;
    REQUIRE_FALSE(runner.run().any_abort());
  }

  [[nodiscard]] const std::map<std::uint8_t, ByteVector>& said() const { return said_; }

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

/// Goes through the table; says how many alterations were tried.
void every_field(const Layout& layout, const Make& make) {
  const Conversation honest(make, 51);
  const Conversation foreign(make, 52);
  REQUIRE(honest.said().size() == layout.size());
  check(honest.replay(0, honest.said().at(0)), Then::kUnnoticed);  // as it was said
  for (const auto& [round, items] : layout) {
    const ByteVector& payload = honest.said().at(round);
    std::size_t offset = 0;
    for (const Item& item : items) {
      std::set<std::size_t> elements{0, item.count / 2, item.count - 1};
      for (const std::size_t element : elements) {
        const Field field{item.name, offset + element * item.size, item.size, item.kind,
                          Blame::kNobody};
        const auto mutations = mutations_of(
            payload, field, {{"another session's", foreign.said().at(round)}}, kSecp256k1Encodings);
        CHECK(mutations.size() > 4);
        for (const FieldMutation& mutation : mutations) {
          INFO("round " << int{round} << ", " << item.name << " " << element << ": "
                        << mutation.name);
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
                          {{"echo", 32, FieldKind::kBytes, Then::kNobody},
                           {"pair id", 32, FieldKind::kBytes, Then::kNobody},
                           {"u", kRowBytes, FieldKind::kBytes, Then::kBurn, kGroups},
                           {"x", 16, FieldKind::kBytes, Then::kBurn},
                           {"t", 16, FieldKind::kBytes, Then::kBurn, kLambda}}},
                         {2,
                          {{"echo", 32, FieldKind::kBytes, Then::kNobody},
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
                          {{"echo", 32, FieldKind::kBytes, Then::kNobody},
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
         {"echo", 32, FieldKind::kBytes, Then::kNobody},
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
         {"aggregate", 32, FieldKind::kBytes, Then::kAttributable},
         {"echo", 32, FieldKind::kBytes, Then::kNobody},
         {"number of hashes", 2, FieldKind::kCount, Then::kMalformed},
         {"hash", 32, FieldKind::kBytes, Then::kAttributable},
         {"direct length", 4, FieldKind::kCount, Then::kMalformed},
         {"ciphertext", 32 + kSetupAnswerBytes + kAeadTagSize, FieldKind::kBytes,
          Then::kAttributable}}},
       {3,
        {{"kind", 1, FieldKind::kCount, Then::kMalformed},
         {"transcript", 32, FieldKind::kBytes, Then::kNobody},
         {"S", 33, FieldKind::kPoint, Then::kAttributable},
         {"A", 33, FieldKind::kPoint, Then::kAttributable, 1, Then::kAttributable},
         {"z", 32, FieldKind::kScalar, Then::kAttributable}}}},
      [](ParticipantIndex self, Random& random) {
        return cosigner::make_keygen(dkls23::test::keygen_parameters(2, 2, self), random).value();
      });
}

TEST_CASE("fields: ECDSA signing") {
  every_field(kSignLayout, [](ParticipantIndex self, Random& random) {
    return cosigner::make_sign(dkls23::test::sign_parameters(key(), self, kVictim, kFieldMessage),
                               random)
        .value();
  });
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
  every_field({{0,
                {{"presignature id", 32, FieldKind::kBytes, Then::kNobody},
                 {"nonce", 32, FieldKind::kBytes, Then::kNobody}}},
               {1, kSignLayout.at(3)}},
              [](ParticipantIndex self, Random& random) {
                SeededRandom same(60);
                auto pool = presign(key(), {kVictim, kLiar}, same);
                return make_presigned_sign(
                           dkls23::test::sign_parameters(key(), self, kVictim, kFieldMessage),
                           std::move(pool.at(self)), random.bytes<Bytes<32>>())
                    .value();
              });
}

TEST_CASE("fields: renewal") {
  every_field(
      {{0,
        {{"nonce", 32, FieldKind::kBytes, Then::kNobody},
         {"encryption key", 32, FieldKind::kAgreementKey, Then::kNobody}}},
       {1,
        {{"echo", 32, FieldKind::kBytes, Then::kNobody},
         {"base OT message", 33, FieldKind::kPoint, Then::kUnnoticed, kBaseOtPoints}}},
       {2,
        {{"sealed answer", kSetupAnswerBytes + kAeadTagSize, FieldKind::kBytes, Then::kMalformed}}},
       {3, {{"pair id", 32, FieldKind::kBytes, Then::kMalformed}}}},
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
