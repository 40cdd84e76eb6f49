// The life of OT state, keys and presignatures: key generation, renewal, erasure, single use.

#include <catch2/catch.hpp>
#include <set>

#include "crypto/dkls23/sign_messages.h"
#include "crypto/protocol/key_share.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

TEST_CASE(
    "key generation: all participants hold the same record, shares that add up, mirrored state") {
  const Key& key = shared_key(2, 3);
  const PublicKeyRecord& record = key.at(1).record;
  CHECK(record.scheme == Scheme::kEcdsaSecp256k1);
  CHECK(record.public_key.size() == 33);
  std::map<ParticipantIndex, std::map<ParticipantIndex, PairState>> states;
  for (const auto& [index, own] : key) {
    CHECK(own.record == record);
    const auto share = KeyShare<Secp256k1Group>::decode(as_view(own.secret));
    REQUIRE(share);
    CHECK(share->index == index);
    CHECK(Point::generator_times(share->share)->encode().view().size() == 33);
    CHECK(std::ranges::equal(Point::generator_times(share->share)->encode().view(),
                             record.public_shares[index - 1U].second));
    const std::array<ParticipantIndex, 3> everyone{1, 2, 3};
    states[index] = decode_states(as_view(share->state), everyone).value();
    CHECK(states[index].size() == 2);
    CHECK(pair_ids(as_view(own.secret)).size() == 2);
  }
  for (const auto& [a, peers] : states) {
    for (const auto& [b, state] : peers) {
      const PairState& mirror = states.at(b).at(a);
      CHECK(state.id == mirror.id);
      CHECK(constant_time_equal(state.zero_seed.expose(), mirror.zero_seed.expose()));
      // Our sender's leaves are the peer's receiver's, but for one in each group.
      for (std::size_t g = 0; g < kGroups; ++g) {
        std::size_t same = 0;
        for (std::size_t y = 0; y < kGroupSize; ++y) {
          const std::size_t at = (g * kGroupSize + y) * kSeedBytes;
          same += std::ranges::equal(state.sender.leaves.expose().subspan(at, kSeedBytes),
                                     mirror.receiver.leaves.expose().subspan(at, kSeedBytes))
                      ? 1U
                      : 0U;
        }
        CHECK(same == kGroupSize - 1);
      }
    }
  }
}

TEST_CASE("key generation: tampering with the OT items names the sender, PPRF is class C") {
  // Round 1 carries base OT message 1 in clear, as the direct part at the end of the payload.
  SeededRandom random(30);
  ProtocolRunner runner;
  runner.hook = [](Envelope& envelope) {
    if (envelope.from == 2 && envelope.to == 1 && envelope.round == 1) {
      envelope.payload[envelope.payload.size() - 33] = 5;  // no such prefix
    }
  };
  const RunReport report = run_keygen(runner, 2, 3, random);
  REQUIRE(report.at(1).abort);
  CHECK(report.at(1).abort->abort_class == AbortClass::kRecoverable);
  CHECK(report.at(1).abort->culprits == std::vector<ParticipantIndex>{2});

  // Another valid base OT message of the same length: the chooser, participant 2, then derives
  // other keys than 1 does, and 2's PPRF check fails: class C, against 1 as it must look from
  // there.
  ProtocolRunner second;
  second.hook = [](Envelope& envelope) {
    if (envelope.from == 2 && envelope.to == 1 && envelope.round == 1) {
      const ByteVector point = to_vector(Point::generator().encode());
      std::ranges::copy(point, envelope.payload.end() - 33);
    }
  };
  const RunReport burnt = run_keygen(second, 2, 3, random);
  for (const auto& [index, participant] : burnt.participants) {
    CHECK_FALSE(participant.outcome);
  }
  REQUIRE(burnt.at(2).abort);
  CHECK(burnt.at(2).abort->abort_class == AbortClass::kBurn);
  CHECK(burnt.at(2).abort->culprits == std::vector<ParticipantIndex>{1});
}

TEST_CASE("the key secret: damage is refused, erasing and replacing touch one pair only") {
  const Key& key = shared_key(2, 3);
  const ByteView secret = as_view(key.at(1).secret);
  for (const std::size_t cut :
       {std::size_t{0}, std::size_t{1}, std::size_t{34}, std::size_t{36}, secret.size() - 1}) {
    CHECK_FALSE(erase_pair(secret.first(cut), 2));
    CHECK(pair_ids(secret.first(cut)).empty());
  }
  CHECK_FALSE(erase_pair(secret, 1));
  CHECK_FALSE(erase_pair(secret, 9));
  const auto erased = erase_pair(secret, 2);
  REQUIRE(erased);
  CHECK(erased->size() == secret.size() - PairState::kEncodedSize);
  CHECK(erase_pair(as_view(*erased), 2) == erased);  // again: nothing more to do
  const auto none = erase_pair(as_view(*erased), 3);
  REQUIRE(none);
  CHECK(pair_ids(as_view(*none)).empty());
  // A trailing byte, a wrong version, an unsorted list.
  SecretVector bad = key.at(1).secret;
  bad.push_back(0);
  CHECK_FALSE(erase_pair(as_view(bad), 2));
  bad = key.at(1).secret;
  bad[35] = 9;
  CHECK_FALSE(erase_pair(as_view(bad), 2));
}

TEST_CASE("renewal gives a burnt pair new OT state, and the pair signs again") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(31);
  const Digest digest = digest_of("after a renewal");
  Key renewed;
  ProtocolRunner runner;
  std::map<ParticipantIndex, SecretVector> erased;
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{3}}) {
    const auto peer = static_cast<ParticipantIndex>(4 - i);
    erased[i] = erase_pair(as_view(key.at(i).secret), peer).value();
    runner.add(
        i, make_renewal({key.at(i).record, as_view(erased[i]), digest, i, peer}, random).value());
  }
  RunReport report = runner.run();
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{3}}) {
    REQUIRE_FALSE(report.at(i).abort);
    CHECK(report.key(i).record == key.at(i).record);
    renewed.emplace(i, std::get<KeyOutcome>(std::move(*report.at(i).outcome)));
    CHECK(pair_ids(as_view(renewed.at(i).secret)).size() == 2);
  }
  CHECK(verify_signature_vartime(Scheme::kEcdsaSecp256k1, key.at(1).record.public_key, digest,
                                 run_sign(renewed, {1, 3}, digest, random).signature(1)));

  SECTION("one side with the renewed state, one with the old: refused before OT, nobody burnt") {
    Key mixed;
    mixed.emplace(1, KeyOutcome{renewed.at(1).record, renewed.at(1).secret});
    mixed.emplace(3, KeyOutcome{key.at(3).record, key.at(3).secret});
    const RunReport refused = run_sign(mixed, {1, 3}, digest, random);
    for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{3}}) {
      REQUIRE(refused.at(i).abort);
      CHECK(refused.at(i).abort->abort_class == AbortClass::kRecoverable);
    }
  }
  SECTION("tampering with a renewal's messages ends it without a new state") {
    for (const std::uint8_t round : std::array<std::uint8_t, 3>{1, 2, 3}) {
      ProtocolRunner tampered;
      tampered.hook = [=](Envelope& envelope) {
        if (envelope.from == 3 && envelope.round == round) {
          // The last point's sign, a byte of the ciphertext, the first byte of the new id.
          envelope.payload[round == 3 ? 0 : envelope.payload.size() - 33] ^= 1U;
        }
      };
      for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{3}}) {
        const auto peer = static_cast<ParticipantIndex>(4 - i);
        tampered.add(
            i, make_renewal({key.at(i).record, as_view(key.at(i).secret), digest, i, peer}, random)
                   .value());
      }
      const RunReport failed = tampered.run();
      CHECK_FALSE(failed.at(1).outcome);
      // In round 1 it is 3 who finds its own base OT answered wrongly.
      const auto& abort = failed.at(round == 1 ? 3 : 1).abort;
      REQUIRE(abort);
      CHECK(abort->abort_class == (round == 1 ? AbortClass::kBurn : AbortClass::kRecoverable));
    }
  }
  SECTION("parameters that do not fit") {
    for (const ParticipantIndex peer : {ParticipantIndex{1}, ParticipantIndex{9}}) {
      CHECK_FALSE(
          make_renewal({key.at(1).record, as_view(key.at(1).secret), digest, 1, peer}, random));
    }
    CHECK_FALSE(make_renewal({key.at(1).record, as_view(key.at(2).secret), digest, 1, 2}, random));
  }
}

TEST_CASE("checklist: presignature double use: a token is moved out and cannot come back") {
  // Move-only, not serialisable, no way to copy: what cannot be written cannot be restored from a
  // backup or used by two messages. Enforced by the types.
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<Presignature>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<Presignature>);
  const Key& key = shared_key(2, 3);
  SeededRandom random(32);
  const Digest digest = digest_of("once");
  ProtocolRunner runner;
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    runner.add(i, make_presign(sign_parameters(key, i, 1, {}), random).value());
  }
  REQUIRE_FALSE(runner.run().any_abort());
  auto& one = dynamic_cast<PresignProtocol&>(runner.protocol(1));
  auto token = one.take_presignature();
  REQUIRE(token);
  CHECK_FALSE(one.take_presignature());
  const auto sign = make_presigned_sign(sign_parameters(key, 1, 1, digest), std::move(*token),
                                        random.bytes<Bytes<32>>())
                        .value();
  // A start that fails has spent it: a second start of the same object finds nothing.
  const std::vector<SetMember> wrong{{1, sign->hello()}, {2, ByteVector(64)}};
  CHECK_FALSE(sign->start(wrong, Digest()));
  const std::vector<SetMember> right{{1, sign->hello()}, {2, sign->hello()}};
  CHECK_FALSE(sign->start(right, Digest()));
}

TEST_CASE(
    "presignatures of different runs, sets or sides do not mix: a recoverable end, no signature") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(33);
  const Digest digest = digest_of("mixed");
  auto first = presign(key, {1, 2}, random);
  auto second = presign(key, {1, 2}, random);
  std::map<ParticipantIndex, Presignature> mixed;
  mixed.emplace(1, std::move(first.at(1)));
  mixed.emplace(2, std::move(second.at(2)));
  const RunReport report = run_presigned(key, std::move(mixed), digest, random);
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    REQUIRE(report.at(i).abort);
    CHECK(report.at(i).abort->abort_class == AbortClass::kRecoverable);
    CHECK(report.at(i).messages_sent == 0);
  }
  // Different messages, paths or nonces at the two sides: the echo tells before anything is added.
  auto third = presign(key, {1, 2}, random);
  ProtocolRunner runner;
  runner.add(1, make_presigned_sign(sign_parameters(key, 1, 1, digest), std::move(third.at(1)),
                                    random.bytes<Bytes<32>>())
                    .value());
  runner.add(2, make_presigned_sign(sign_parameters(key, 2, 1, digest, {5}), std::move(third.at(2)),
                                    random.bytes<Bytes<32>>())
                    .value());
  const RunReport differ = runner.run();
  REQUIRE(differ.at(1).abort);
  CHECK(differ.at(1).abort->abort_class == AbortClass::kRecoverable);
  // A tampered share: nobody can be named.
  for (const std::size_t at : {std::size_t{63}, std::size_t{95}}) {
    const RunReport bad = run_presigned(key, presign(key, {1, 2}, random), digest, random, {},
                                        [=](Envelope& envelope) {
                                          if (envelope.round == 1) {
                                            envelope.payload[at] ^= 1U;
                                          }
                                        });
    REQUIRE(bad.at(1).abort);
    CHECK(bad.at(1).abort->abort_class == AbortClass::kUnattributable);
  }
}

TEST_CASE("ToB-4, simulated: t−1 shares plus a share of another epoch give nothing") {
  // A refresh adds a polynomial that vanishes at zero: the shares change, the key does not. Who has
  // t−1 shares of one epoch and one of the other has no t points of any polynomial.
  const Key& key = shared_key(2, 3);
  SeededRandom random(35);
  const SecretScalar slope = SecretScalar::random(random);
  std::map<ParticipantIndex, SecretScalar> old_epoch;
  std::map<ParticipantIndex, SecretScalar> new_epoch;
  for (const auto& [index, own] : key) {
    auto share = KeyShare<Secp256k1Group>::decode(as_view(own.secret));
    new_epoch[index] = share->share + slope * Scalar::from_u64(index);
    old_epoch[index] = std::move(share->share);
  }
  // λ_1 = 2, λ_2 = −1 for the set {1, 2}.
  const auto together = [](const SecretScalar& one, const SecretScalar& two) {
    return *Point::generator_times(Scalar::from_u64(2) * one + -two);
  };
  CHECK(together(old_epoch.at(1), old_epoch.at(2)) == root_of(key));
  CHECK(together(new_epoch.at(1), new_epoch.at(2)) == root_of(key));
  CHECK_FALSE(together(old_epoch.at(1), new_epoch.at(2)) == root_of(key));
  CHECK_FALSE(together(new_epoch.at(1), old_epoch.at(2)) == root_of(key));
  // The caveat: t−1 parties that stay through the refresh know its polynomial, t−1 points of it and
  // that it vanishes at zero. Then one share more, of either epoch, is the key.
  const SecretScalar known = new_epoch.at(1) - old_epoch.at(1);
  CHECK(together(new_epoch.at(1), old_epoch.at(2) + known * Scalar::from_u64(2)) == root_of(key));
}

TEST_CASE("ToB-4, simulated: shares of two key generations do not sign together") {
  const Key& old_epoch = shared_key(2, 3);
  const Key& new_epoch = shared_key(2, 2);
  // Different transcripts, found by the echo.
  Key mixed;
  mixed.emplace(1, KeyOutcome{old_epoch.at(1).record, old_epoch.at(1).secret});
  mixed.emplace(2, KeyOutcome{old_epoch.at(1).record, new_epoch.at(2).secret});
  SeededRandom random(34);
  const RunReport report = run_sign(mixed, {1, 2}, digest_of("mixed epochs"), random);
  for (const ParticipantIndex i : {ParticipantIndex{1}, ParticipantIndex{2}}) {
    REQUIRE(report.at(i).abort);
    CHECK(report.at(i).abort->abort_class == AbortClass::kRecoverable);  // pair ids differ
  }
}

TEST_CASE("a presignature signs for the key and epoch it was made with, and no other") {
  const Key& key = shared_key(2, 3);
  SeededRandom random(40);
  const Digest digest = digest_of("another key");
  auto pool = presign(key, {1, 2}, random);
  const auto sign = [&](const Key& with, ParticipantIndex self) {
    return make_presigned_sign(sign_parameters(with, self, 1, digest), std::move(pool.at(self)),
                               random.bytes<Bytes<32>>());
  };
  // Another key of the same participants: with this share they would sign for the first one.
  CHECK_FALSE(sign(shared_key(2, 2), 1));
  // The same key after a refresh: its record differs in the transcript.
  Key later;
  later.emplace(2, KeyOutcome{key.at(2).record, key.at(2).secret});
  later.at(2).record.transcript.data[0] ^= 1U;
  CHECK_FALSE(sign(later, 2));
}
