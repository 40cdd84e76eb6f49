// A participant that misbehaves in a signing session, and what it costs whom. Every case names the
// line of the audit checklist it stands for; CHECKLIST.md has the whole list.

#include <catch2/catch.hpp>
#include <set>

#include "crypto/dkls23/sign_messages.h"
#include "crypto/dkls23/vole.h"
#include "crypto/protocol/key_share.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {

const Digest kMessage = digest_of("a message under attack");

/// 2-of-3 between 1 and 2; the hook sees what 2 sends to 1. What happens to 1?
struct Verdict {
  std::optional<Abort> abort;
  Watch watch;
};
Verdict attack(const std::function<void(Envelope&)>& change, ParticipantIndex assembler = 1) {
  SeededRandom random(900);
  Verdict out;
  ProtocolRunner runner;
  runner.hook = [&](Envelope& envelope) {
    if (envelope.from == 2 && envelope.to == 1) {
      change(envelope);
    }
  };
  const Key& key = shared_key(2, 3);
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    runner.add(i,
               cosigner::make_sign(sign_parameters(key, i, assembler, kMessage), random).value());
  }
  runner.protocol(1).observe_checks(&out.watch);
  RunReport report = runner.run();
  out.abort = report.at(1).abort;
  CHECK_FALSE(report.at(1).outcome);
  return out;
}

/// Overwrites bytes of one round's message.
std::function<void(Envelope&)> put(std::uint8_t round, std::size_t at, ByteVector bytes) {
  return [=](Envelope& envelope) {
    if (envelope.round == round) {
      std::ranges::copy(bytes, envelope.payload.begin() + static_cast<std::ptrdiff_t>(at));
    }
  };
}
std::function<void(Envelope&)> flip(std::uint8_t round, std::size_t at) {
  return [=](Envelope& envelope) {
    if (envelope.round == round) {
      envelope.payload.at(at) = static_cast<std::uint8_t>(envelope.payload.at(at) ^ 1U);
    }
  };
}

void check_class(const Verdict& verdict, AbortClass expected) {
  REQUIRE(verdict.abort);
  INFO(verdict.abort->reason);
  CHECK(verdict.abort->abort_class == expected);
  if (expected == AbortClass::kBurn || expected == AbortClass::kAttributable) {
    CHECK(verdict.abort->culprits == std::vector<ParticipantIndex>{2});
  }
  if (expected == AbortClass::kUnattributable) {
    CHECK(verdict.abort->culprits.empty());
  }
  // checking() without checked() is left behind by burns only.
  CHECK(verdict.watch.open.empty() == (expected != AbortClass::kBurn));
}

const ByteVector kOtherPoint = to_vector(Point::generator().encode());
const ByteVector kOrder =
    *from_hex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141");
constexpr std::size_t kNonceAt = 32, kBlindingAt = 65, kKeyAt = 97, kGammaUAt = 130,
                      kGammaVAt = 163, kPsiAt = 196, kVoleAt = 228;

/// Two participants with different parameters: what does 1 see, and did it touch OT at all?
Verdict disagree(const std::function<void(SignParameters&)>& change) {
  SeededRandom random(901);
  const Key& key = shared_key(2, 3);
  Verdict out;
  ProtocolRunner runner;
  runner.add(1, cosigner::make_sign(sign_parameters(key, 1, 1, kMessage), random).value());
  SignParameters other = sign_parameters(key, 2, 1, kMessage);
  change(other);
  runner.add(2, cosigner::make_sign(std::move(other), random).value());
  runner.protocol(1).observe_checks(&out.watch);
  out.abort = runner.run().at(1).abort;
  return out;
}

}  // namespace

TEST_CASE("checklist: flip each bit class of (u, x, t) in a session: class C") {
  constexpr std::size_t kOt = 64;
  for (const std::size_t at : {kOt, kOt + 68 * 63 + 67, kOt + kGroups * kRowBytes,
                               kOt + kGroups * kRowBytes + 16, kOt + kOtMessageBytes - 1}) {
    check_class(attack(flip(SignRound1::kRound, at)), AbortClass::kBurn);
  }
}

TEST_CASE("checklist: flip each of ã, η, μ in a session: class C") {
  for (const std::size_t at :
       {kVoleAt + 31, kVoleAt + 32 * 700 + 31, kVoleAt + 39'936 + 31, kVoleAt + 39'968}) {
    check_class(attack(flip(SignRound2::kRound, at)), AbortClass::kBurn);
  }
}

TEST_CASE("checklist: Γ^u, Γ^v, ψ, pk, R tampered individually: the right class each") {
  check_class(attack(put(SignRound2::kRound, kNonceAt, kOtherPoint)), AbortClass::kAttributable);
  check_class(attack(flip(SignRound2::kRound, kBlindingAt)), AbortClass::kAttributable);
  check_class(attack(put(SignRound2::kRound, kKeyAt, kOtherPoint)), AbortClass::kBurn);
  check_class(attack(put(SignRound2::kRound, kGammaUAt, kOtherPoint)), AbortClass::kBurn);
  check_class(attack(put(SignRound2::kRound, kGammaVAt, kOtherPoint)), AbortClass::kBurn);
  check_class(attack(flip(SignRound2::kRound, kPsiAt + 31)), AbortClass::kUnattributable);
  check_class(attack(flip(3, 32 + 31)), AbortClass::kUnattributable);  // w
  check_class(attack(flip(3, 64 + 31)), AbortClass::kUnattributable);  // u
}

TEST_CASE("checklist: bad lengths, encodings and echoes are class A, before any OT payload") {
  const auto shorten = [](std::uint8_t round) {
    return [=](Envelope& envelope) {
      if (envelope.round == round) {
        envelope.payload.pop_back();
      }
    };
  };
  for (const std::uint8_t round : std::array<std::uint8_t, 4>{0, 1, 2, 3}) {
    check_class(attack(shorten(round)), AbortClass::kRecoverable);
  }
  for (const std::size_t at : {std::size_t{0}, std::size_t{32}}) {  // echo, pair id
    const Verdict verdict = attack(flip(SignRound1::kRound, at));
    check_class(verdict, AbortClass::kRecoverable);
    CHECK(verdict.watch.count == 0);
  }
  check_class(attack(flip(SignRound2::kRound, 0)), AbortClass::kRecoverable);
  check_class(attack(flip(3, 0)), AbortClass::kRecoverable);
  for (const std::size_t at : {kNonceAt, kKeyAt, kGammaUAt, kGammaVAt}) {
    check_class(attack(put(SignRound2::kRound, at, ByteVector(33))), AbortClass::kRecoverable);
    ByteVector hybrid = kOtherPoint;
    hybrid[0] = 6;
    check_class(attack(put(SignRound2::kRound, at, hybrid)), AbortClass::kRecoverable);
  }
  for (const std::size_t at : {kPsiAt, kVoleAt, kVoleAt + 39'936}) {
    check_class(attack(put(SignRound2::kRound, at, kOrder)), AbortClass::kRecoverable);
  }
  check_class(attack(put(3, 32, kOrder)), AbortClass::kRecoverable);
  check_class(attack(put(3, 64, ByteVector(32, 0xff))), AbortClass::kRecoverable);
}

TEST_CASE(
    "ToB-7: chain code, path, message, key or epoch mismatch is found before OT, recoverable") {
  const auto check = [](const std::function<void(SignParameters&)>& change) {
    const Verdict verdict = disagree(change);
    check_class(verdict, AbortClass::kRecoverable);
    CHECK(verdict.watch.count == 0);
  };
  check([](SignParameters& p) { p.record.chain_code.data[0] ^= 1U; });
  check([](SignParameters& p) { p.path = {1}; });
  check([](SignParameters& p) { p.message[0] ^= 1U; });
  check([](SignParameters& p) { p.assembler = 2; });
  check([](SignParameters& p) { p.record.transcript.data[5] ^= 1U; });  // ToB-10: tied to the DKG
  check([](SignParameters& p) { p.context.data[31] ^= 1U; });           // ToB-10: tied to the epoch
}

TEST_CASE("ToB-8: an equivocating third party cannot get honest parties banned") {
  const Key& key = shared_key(3, 5);
  // Participant 3 tells 1 another hello than 2; then anything at all in any round. Whatever 1 and 2
  // make of it, they never burn or blame each other.
  SeededRandom choice(8);
  int aborts = 0;
  for (int run = 0; run < cosigner::test::rounds(120, 3'000); ++run) {
    const auto round = static_cast<std::uint8_t>(run % 4);
    const auto victim = static_cast<ParticipantIndex>(1 + choice.next_u64() % 2);
    const std::uint64_t where = choice.next_u64();
    SeededRandom random(static_cast<std::uint64_t>(run));
    ProtocolRunner runner;
    runner.hook = [&](Envelope& envelope) {
      if (envelope.from == 3 && envelope.to == victim && envelope.round == round) {
        envelope.payload[where / 8 % envelope.payload.size()] ^=
            static_cast<std::uint8_t>(1U << (where % 8));
      }
    };
    add_signers(runner, key, {1, 2, 3}, kMessage, random);
    const RunReport report = runner.run();
    for (const ParticipantIndex honest : {ParticipantIndex{1}, ParticipantIndex{2}}) {
      const auto& abort = report.at(honest).abort;
      aborts += abort ? 1 : 0;
      if (abort && (abort->abort_class == AbortClass::kBurn ||
                    abort->abort_class == AbortClass::kAttributable)) {
        INFO(abort->reason);
        CHECK(abort->culprits == std::vector<ParticipantIndex>{3});
      }
      if (round == 0 && abort) {  // a broadcast that differs per receiver is detected by the echo
        CHECK(abort->abort_class == AbortClass::kRecoverable);
      }
    }
  }
  CHECK(aborts > 0);
}

TEST_CASE("ToB-5: every pair, direction and session has its own session id") {
  std::set<ByteVector> seen;
  std::size_t made = 0;
  for (const char* session : {"one", "two"}) {
    const Digest sid = digest_of(session);
    for (ParticipantIndex a = 1; a <= 8; ++a) {
      for (ParticipantIndex b = 1; b <= 8; ++b) {
        if (a != b) {
          seen.insert(to_vector(direction_sid(sid, a, b)));
          ++made;
        }
        if (a < b) {
          CHECK(pair_id(sid, a, b) == pair_id(sid, b, a));
          seen.insert(to_vector(pair_id(sid, a, b)));
          ++made;
        }
      }
    }
  }
  CHECK(seen.size() == made);
}

TEST_CASE(
    "ToB-12: a failed check ends the object, leaves the notice open, and the pair can be erased") {
  SeededRandom random(12);
  const Key& key = shared_key(2, 3);
  Watch watch;
  ProtocolRunner runner;
  runner.hook = [](Envelope& envelope) {
    if (envelope.from == 2 && envelope.round == 1) {
      envelope.payload[100] ^= 1U;
    }
  };
  add_signers(runner, key, {1, 2}, kMessage, random);
  runner.protocol(1).observe_checks(&watch);
  const RunReport report = runner.run();
  REQUIRE(report.at(1).abort);
  CHECK(report.at(1).abort->abort_class == AbortClass::kBurn);
  CHECK(report.at(1).messages_sent == 1);  // the round 1 message: nothing after the failed check
  CHECK(watch.open == std::multiset<ParticipantIndex>{2});
  const auto later = runner.protocol(1).receive(2, 2, ByteVector(SignRound2::kEncodedSize));
  REQUIRE_FALSE(later);
  CHECK(later.error().abort_class == AbortClass::kRecoverable);
  CHECK_FALSE(runner.protocol(1).take_outcome());

  // What the worker does next: the state towards 2 goes, sessions with 2 do not start any more.
  const auto erased = erase_pair(as_view(key.at(1).secret), 2);
  REQUIRE(erased);
  const auto left = pair_ids(as_view(*erased));
  REQUIRE(left.size() == 1);
  CHECK(left[0].first == 3);
  SignParameters parameters = sign_parameters(key, 1, 1, kMessage);
  parameters.secret = as_view(*erased);
  ProtocolRunner refused;
  refused.add(1, cosigner::make_sign(parameters, random).value());
  refused.add(2, cosigner::make_sign(sign_parameters(key, 2, 1, kMessage), random).value());
  const RunReport second = refused.run();
  REQUIRE(second.at(1).abort);
  CHECK(second.at(1).abort->abort_class == AbortClass::kRecoverable);
  // With 3 it goes on.
  ProtocolRunner other;
  other.add(1, cosigner::make_sign(parameters, random).value());
  other.add(3, cosigner::make_sign(sign_parameters(key, 3, 1, kMessage), random).value());
  CHECK_FALSE(other.run().any_abort());
}

TEST_CASE(
    "ToB-15: |S| = t is enforced, t = 1, t > n, n > max, index 0 and duplicates are rejected") {
  SeededRandom random(15);
  const Key& key = shared_key(3, 5);
  const auto start_with = [&](const Signers& signers) {
    ProtocolRunner runner;
    add_signers(runner, key, signers, kMessage, random);
    return runner.run();
  };
  for (const Signers& signers : {Signers{1, 2}, Signers{1, 2, 3, 4}, Signers{1, 2, 3, 4, 5}}) {
    const RunReport report = start_with(signers);
    for (const ParticipantIndex i : signers) {
      REQUIRE(report.at(i).abort);
      CHECK(report.at(i).abort->abort_class == AbortClass::kRecoverable);
      CHECK(report.at(i).messages_sent == 0);
    }
  }
  const auto protocol = cosigner::make_sign(sign_parameters(key, 1, 1, kMessage), random).value();
  const ByteVector hello = protocol->hello();
  const std::vector<std::vector<SetMember>> sets = {
      {{1, hello}, {1, hello}, {2, hello}},            // a duplicate
      {{0, hello}, {1, hello}, {2, hello}},            // index 0
      {{1, hello}, {3, hello}, {2, hello}},            // unsorted
      {{1, hello}, {2, hello}, {6, hello}},            // not a participant
      {{2, hello}, {3, hello}, {4, hello}},            // without us
      {{1, ByteVector(64)}, {2, hello}, {3, hello}}};  // our hello altered
  for (const auto& set : sets) {
    const auto fresh = cosigner::make_sign(sign_parameters(key, 1, 1, kMessage), random).value();
    CHECK_FALSE(fresh->start(set, Digest()));
  }
  KeygenParameters keygen = keygen_parameters(2, 3, 1);
  for (const std::uint16_t t : std::array<std::uint16_t, 3>{0, 1, 4}) {
    keygen.threshold = t;
    CHECK_FALSE(cosigner::make_keygen(keygen, random));
  }
  CHECK_FALSE(
      cosigner::make_keygen(keygen_parameters(2, std::uint16_t{kMaxParticipants + 1}, 1), random));
  keygen = keygen_parameters(2, 3, 1);
  keygen.participants = {0, 1, 2};
  CHECK_FALSE(cosigner::make_keygen(keygen, random));
  keygen.participants = {1, 1, 2};
  CHECK_FALSE(cosigner::make_keygen(keygen, random));
}

TEST_CASE(
    "checklist: the same message twice, a different one, to the wrong peer, from self, unknown") {
  SeededRandom random(16);
  const Key& key = shared_key(3, 5);
  ProtocolRunner runner;
  std::map<ParticipantIndex, ByteVector> from2;
  runner.hook = [&](Envelope& envelope) {
    if (envelope.from == 2 && envelope.round == 1) {
      from2[envelope.to] = envelope.payload;
      envelope.copies = 0;
    }
  };
  add_signers(runner, key, {1, 2, 3}, kMessage, random);
  REQUIRE_FALSE(runner.run().any_abort());
  Protocol& one = runner.protocol(1);
  SECTION("meant for another") {
    // The pair id gives it away before the OT extension is touched.
    const auto result = one.receive(2, 1, from2.at(3));
    CHECK(result.error().abort_class == AbortClass::kRecoverable);
  }
  SECTION("twice, then a different one") {
    REQUIRE(one.receive(2, 1, from2.at(1)));
    const auto again = one.receive(2, 1, from2.at(1));
    REQUIRE(again);
    CHECK(again->empty());
    const auto different = one.receive(2, 1, from2.at(3));
    CHECK(different.error().abort_class == AbortClass::kAttributable);
    CHECK(different.error().culprits == std::vector<ParticipantIndex>{2});
  }
  SECTION("from ourselves, from outside the set, for a round that does not exist, too long") {
    const auto [from, round, size] = GENERATE(
        std::tuple<ParticipantIndex, std::uint8_t, std::size_t>{1, 1, SignRound1::kEncodedSize},
        std::tuple<ParticipantIndex, std::uint8_t, std::size_t>{4, 1, SignRound1::kEncodedSize},
        std::tuple<ParticipantIndex, std::uint8_t, std::size_t>{2, 4, 96},
        std::tuple<ParticipantIndex, std::uint8_t, std::size_t>{2, 2,
                                                                SignRound2::kEncodedSize + 1});
    const auto result = one.receive(from, round, ByteVector(size));
    CHECK(result.error().abort_class == AbortClass::kRecoverable);
  }
}

TEST_CASE("checklist: R = ∞ crafted by the last signer is stopped by its commitment") {
  // Participant 1 answers R_2 with −R_2: it has committed to another R_1.
  SeededRandom random(17);
  const Key& key = shared_key(2, 3);
  ProtocolRunner runner;
  ByteVector opposite;
  runner.hook = [&](Envelope& envelope) {
    if (envelope.round == SignRound2::kRound && envelope.from == 2) {
      opposite = to_vector(ByteView(envelope.payload).subspan(kNonceAt, 33));
      opposite[0] ^= 1U;
    } else if (envelope.round == SignRound2::kRound && envelope.from == 1) {
      REQUIRE_FALSE(opposite.empty());
      std::ranges::copy(opposite, envelope.payload.begin() + kNonceAt);
    }
  };
  add_signers(runner, key, {1, 2}, kMessage, random);
  const RunReport report = runner.run();
  REQUIRE(report.at(2).abort);
  CHECK(report.at(2).abort->abort_class == AbortClass::kAttributable);
  CHECK(report.at(2).abort->culprits == std::vector<ParticipantIndex>{1});
  // And were it to pass, the sum is an error: there is no point that is the identity.
  const Point some = Point::generator();
  CHECK_FALSE(secp256k1::sum_of(some, some.negated()));
}

TEST_CASE("checklist: a commitment copied from another party is rejected") {
  // Participant 2 is played by hand. Its hello repeats 1's; when 1 opens, it repeats the opening.
  SeededRandom random(18);
  const Key& key = shared_key(2, 3);
  const auto one = cosigner::make_sign(sign_parameters(key, 1, 1, kMessage), random).value();
  const std::vector<SetMember> set{{1, one->hello()}, {2, one->hello()}};
  const Digest binding = digest_of("binding");

  // The session id, from its definition.
  const SignParameters p = sign_parameters(key, 1, 1, kMessage);
  TaggedHash context(tag::kSignContext);
  context.part_u8(kVersion).part(p.context).part(p.record.public_key).part(p.record.chain_code);
  context.part(p.record.transcript).part(p.record.public_key).part("sign").part(p.message);
  TaggedHash session(tag::kSignSid);
  session.part(context.part_u16(1).finish()).part(binding);
  session.part_u16(1).part(set[0].hello).part_u16(2).part(set[1].hello);
  const Digest sid = session.finish();

  const auto first = one->start(set, binding);
  REQUIRE(first);
  const ByteView echo = ByteView(first->front().payload).first(32);
  CHECK(std::ranges::equal(echo, TaggedHash(tag::kSignEcho).part(sid).finish().view()));
  const auto share = KeyShare<Secp256k1Group>::decode(as_view(key.at(2).secret));
  const std::array<ParticipantIndex, 1> wanted{1};
  const auto states = decode_states(as_view(share->state), wanted).value();
  const OtReceived ot =
      ot_extension_receive(direction_sid(sid, 1, 2), states.at(1).receiver, random);
  const auto second =
      one->receive(2, 1, Writer().fixed(echo).fixed(states.at(1).id).fixed(ot.message).take());
  REQUIRE(second);
  ByteVector copy = second->front().payload;  // 1's R and ρ, word for word
  const auto third = one->receive(2, 2, copy);
  REQUIRE_FALSE(third);
  CHECK(third.error().abort_class == AbortClass::kAttributable);
  CHECK(third.error().culprits == std::vector<ParticipantIndex>{2});
}

TEST_CASE("an altered signature outcome does not verify") {
  SeededRandom random(19);
  const Key& key = shared_key(2, 3);
  const ByteVector& public_key = key.at(1).record.public_key;
  ByteVector signature = run_sign(key, {1, 2}, kMessage, random).signature(1);
  const auto verifies = [&](const ByteVector& bytes) {
    return verify_signature_vartime(Scheme::kEcdsaSecp256k1, public_key, kMessage, bytes);
  };
  REQUIRE(verifies(signature));
  for (std::size_t at = 0; at < signature.size(); at += 4) {
    ByteVector bad = signature;
    bad[at] ^= 1U;
    CHECK_FALSE(verifies(bad));  // the last byte is the recovery id: a wrong one is refused as well
  }
  // High s is a valid ECDSA signature of the same message elsewhere; not here.
  ByteVector high = signature;
  const Scalar s = *Scalar::decode(ByteView(signature).subspan(32, 32));
  std::ranges::copy((-s).encode().data, high.begin() + 32);
  high[64] ^= 1U;
  CHECK_FALSE(verifies(high));
  CHECK_FALSE(verifies(ByteVector(64)));
  CHECK_FALSE(verifies({}));
}
