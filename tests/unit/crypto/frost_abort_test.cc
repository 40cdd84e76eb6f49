// FROST signing against participants that do not follow it: who is blamed, and that no signature
// comes out. 3 of 5, signers 1, 3, 4, assembler 3.
#include <catch2/catch.hpp>

#include "crypto/ed25519/group.h"
#include "crypto/frost/ed25519_suite.h"
#include "crypto/frost/nonce.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"
#include "tests/unit/crypto/field_mutations.h"

using namespace cosigner;
using namespace cosigner::test;
using Indices = std::vector<ParticipantIndex>;
using Culprits = Indices;

namespace {

const std::vector<ParticipantIndex> kSigners{1, 3, 4};
constexpr ParticipantIndex kAssembler = 3;

const RunReport& keys() {
  static SeededRandom random(21);
  static const RunReport report = run_keygen(Scheme::kEd25519, 3, first_indices(5), random);
  return report;
}

RunReport sign(const Configure& configure, std::uint64_t seed = 1, ByteVector message = {1, 2, 3}) {
  SeededRandom random(seed);
  return run_sign(keys(), kSigners, message, kAssembler, random, configure);
}

std::unique_ptr<Protocol> signer(ParticipantIndex index, Random& random) {
  return std::move(
      *make_sign(sign_parameters(keys().key(index), {1, 2, 3}, index, kAssembler), random));
}

const std::vector<Field> kHelloFields{
    {"D", 0, 32, FieldKind::kPoint, Blame::kNobody},
    {"E", 32, 32, FieldKind::kPoint, Blame::kNobody},
};
const std::vector<Field> kShareFields{
    {"view", 0, 32, FieldKind::kBytes, Blame::kNobody},
    {"z", 32, 32, FieldKind::kScalar, Blame::kSender},
};

// The message of `from` in that round of a run with this seed.
ByteVector recorded(ParticipantIndex from, std::uint8_t round, std::uint64_t seed) {
  ByteVector out;
  const RunReport run = sign(
      [&](ProtocolRunner& runner) {
        runner.hook = [&](Envelope& e) {
          if (e.from == from && e.round == round) {
            out = e.payload;
          }
        };
      },
      seed);
  REQUIRE_FALSE(run.any_abort());
  return out;
}

Configure replace_round(ParticipantIndex from, ParticipantIndex to, std::uint8_t round,
                        const ByteVector& payload) {
  return [=](ProtocolRunner& runner) {
    runner.hook = [=](Envelope& e) {
      if (e.from == from && e.round == round && (to == 0 || e.to == to) && e.to != from) {
        e.payload = payload;
      }
    };
  };
}

}  // namespace

TEST_CASE("FROST: every field of every message, altered in every way, is met with the right name") {
  const ParticipantIndex cheat = GENERATE(as<ParticipantIndex>(), 1, 4);
  const ParticipantIndex other = cheat == 1 ? 4 : 1;
  for (std::uint8_t round = 0; round <= 1; ++round) {
    const ByteVector honest = recorded(cheat, round, 1);
    const std::vector<std::pair<std::string, ByteVector>> others{
        {"another party's", recorded(other, round, 1)},
        {"another session's", recorded(cheat, round, 2)}};
    for (const Field& field : round == 0 ? kHelloFields : kShareFields) {
      for (const FieldMutation& mutation : mutations_of(honest, field, others)) {
        INFO("round " << int{round} << ", " << field.name << ": " << mutation.name);
        const RunReport run = sign(replace_round(cheat, 0, round, mutation.payload));
        REQUIRE(run.at(kAssembler).abort);
        CHECK(run.at(kAssembler).abort->culprits ==
              (mutation.blame == Blame::kSender ? Culprits{cheat} : Culprits{}));
        CHECK_FALSE(run.at(kAssembler).outcome);
        CHECK_FALSE(run.at(other).outcome);
        // An invalid point stops the other signer before it has sent a share, by the same name.
        if (run.at(other).abort) {
          CHECK(run.at(other).abort->culprits == Culprits{cheat});
          CHECK(run.at(other).messages_sent == 0);
        }
      }
    }
    // A whole message of another session.
    const RunReport run = sign(replace_round(cheat, 0, round, others[1].second));
    REQUIRE(run.at(kAssembler).abort);
    CHECK(run.at(kAssembler).abort->abort_class == AbortClass::kRecoverable);
    CHECK(run.at(kAssembler).abort->culprits.empty());
  }
}

TEST_CASE("FROST: a wrong share is blamed on exactly its signer, two on both") {
  const auto spoil = [](std::vector<ParticipantIndex> cheats) {
    return [cheats](ProtocolRunner& runner) {
      runner.hook = [cheats](Envelope& e) {
        if (e.round == 1 && std::ranges::find(cheats, e.from) != cheats.end()) {
          const auto z = ed25519::Scalar::decode(ByteView(e.payload).subspan(32)).value();
          const auto wrong = (z + ed25519::Scalar::from_u64(1)).encode();
          std::copy(wrong.data.begin(), wrong.data.end(), e.payload.begin() + 32);
        }
      };
    };
  };
  for (const Culprits& cheats : {Culprits{1}, Culprits{4}, Culprits{1, 4}}) {
    const RunReport run = sign(spoil(cheats));
    REQUIRE(run.at(kAssembler).abort);
    CHECK(run.at(kAssembler).abort->abort_class == AbortClass::kAttributable);
    CHECK(run.at(kAssembler).abort->culprits == cheats);
  }
  // Errors that cancel out in the sum leave a valid signature, which is all that is asked of it.
  const RunReport run = sign([](ProtocolRunner& runner) {
    runner.hook = [](Envelope& e) {
      if (e.round == 1) {
        const auto z = ed25519::Scalar::decode(ByteView(e.payload).subspan(32)).value();
        const auto one = ed25519::Scalar::from_u64(1);
        const auto wrong = (e.from == 1 ? z + one : z - one).encode();
        std::copy(wrong.data.begin(), wrong.data.end(), e.payload.begin() + 32);
      }
    };
  });
  CHECK_FALSE(run.any_abort());
}

TEST_CASE("FROST: own commitments altered by the coordinator are refused before any share") {
  for (const std::size_t position : {0U, 31U, 32U, 63U}) {
    const RunReport run = sign([&](ProtocolRunner& runner) {
      runner.hook = [&](Envelope& e) {
        if (e.round == 0 && e.from == 4 && e.to == 4) {
          e.payload[position] ^= 1U;
        }
      };
    });
    REQUIRE(run.at(4).abort);
    CHECK(run.at(4).abort->abort_class == AbortClass::kRecoverable);
    CHECK(run.at(4).abort->culprits.empty());
    CHECK(run.at(4).messages_sent == 0);
    CHECK_FALSE(run.at(kAssembler).outcome);
  }
}

TEST_CASE("FROST: unsorted, repeated, zero, unknown, too few, too many, without us") {
  SeededRandom random(5);
  const auto refuse = [&](auto change, const char* what) {
    INFO(what);
    auto protocol = signer(1, random);
    std::vector<SetMember> set{{1, protocol->hello()}};
    for (const ParticipantIndex index : Indices{3, 4}) {
      set.push_back({index, signer(index, random)->hello()});
    }
    change(set);
    const auto result = protocol->start(set, Digest());
    REQUIRE_FALSE(result);
    CHECK(result.error().abort_class == AbortClass::kRecoverable);
    CHECK(result.error().culprits.empty());
    CHECK_FALSE(protocol->start(set, Digest()));  // dead
  };
  refuse([](auto& set) { std::swap(set[0], set[1]); }, "unsorted");
  refuse([](auto& set) { set[2] = set[1]; }, "repeated");
  refuse([](auto& set) { set.insert(set.begin(), {0, set[1].hello}); }, "zero");
  refuse([](auto& set) { set[2].index = 6; }, "unknown");
  refuse([](auto& set) { set.pop_back(); }, "too few");
  refuse([](auto& set) { set.push_back({5, set[1].hello}); }, "too many");
  refuse([](auto& set) { set.erase(set.begin()); }, "without us");
  refuse([](auto& set) { set[1].index = 2; }, "without the assembler");
  refuse([](auto& set) { set.clear(); }, "empty");
}

TEST_CASE("FROST: a nonce serves one start only") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<FrostNonce<FrostEd25519>>);
  STATIC_REQUIRE_FALSE(std::is_copy_assignable_v<FrostNonce<FrostEd25519>>);
  STATIC_REQUIRE_FALSE(std::is_default_constructible_v<FrostNonce<FrostEd25519>>);
  SeededRandom random(6);
  auto protocol = signer(1, random);
  std::vector<SetMember> set{{1, protocol->hello()}};
  for (const ParticipantIndex index : Indices{3, 4}) {
    set.push_back({index, signer(index, random)->hello()});
  }
  REQUIRE(protocol->start(set, Digest()));
  set[2].hello = signer(4, random)->hello();
  CHECK_FALSE(protocol->start(set, Digest()));
  // And two attempts of one signer never show the same commitments.
  CHECK(signer(1, random)->hello() != signer(1, random)->hello());
}

TEST_CASE(
    "FROST: a coordinator that tells signers different things gets no signature, and no honest "
    "signer is blamed for a bad share") {
  const auto check = [](const RunReport& run) {
    REQUIRE(run.at(kAssembler).abort);
    CHECK(run.at(kAssembler).abort->abort_class == AbortClass::kRecoverable);
    CHECK(run.at(kAssembler).abort->culprits.empty());
    CHECK_FALSE(run.at(kAssembler).outcome);
  };
  SeededRandom random(7);
  const ByteVector foreign = signer(4, random)->hello();
  check(sign(replace_round(4, 1, 0, foreign)));  // another list
  check(sign([](ProtocolRunner& runner) {        // another rendezvous
    runner.start_hook = [](ParticipantIndex receiver, std::vector<SetMember>&, Digest& binding) {
      binding.data[0] ^= receiver == 1 ? 1U : 0U;
    };
  }));
  // Another message, and thus another session and context.
  ProtocolRunner runner;
  for (const ParticipantIndex index : kSigners) {
    const bool misled = index == 4;
    SignParameters parameters = sign_parameters(
        keys().key(index), misled ? ByteVector{9} : ByteVector{1, 2, 3}, index, kAssembler);
    parameters.context.data[0] ^= misled ? 1U : 0U;
    runner.add(index, std::move(*make_sign(std::move(parameters), random)));
  }
  check(runner.run());
}

TEST_CASE("FROST: duplicate, early, late, unknown, own and unexpected messages") {
  SeededRandom random(8);
  std::map<ParticipantIndex, std::unique_ptr<Protocol>> protocols;
  std::vector<SetMember> set;
  for (const ParticipantIndex index : kSigners) {
    protocols[index] = signer(index, random);
    set.push_back({index, protocols[index]->hello()});
  }
  const ByteVector share1 = protocols[1]->start(set, Digest())->at(0).payload;
  const ByteVector share4 = protocols[4]->start(set, Digest())->at(0).payload;
  Protocol& assembler = *protocols[kAssembler];

  SECTION("early, doubled and late messages do no harm") {
    CHECK(assembler.receive(1, 1, share1));
    CHECK(assembler.receive(1, 1, share1));
    // From a participant of the key that is not in the set: kept until the set is known, dropped.
    CHECK(assembler.receive(5, 1, share4));
    REQUIRE(assembler.start(set, Digest()));
    CHECK(assembler.receive(1, 1, share1));
    CHECK_FALSE(assembler.take_outcome());
    CHECK(assembler.receive(4, 1, share4));
    CHECK(assembler.take_outcome());
    CHECK_FALSE(assembler.take_outcome());
    CHECK(assembler.receive(4, 1, share4));
  }
  SECTION("a different second message is blamed") {
    REQUIRE(assembler.receive(1, 1, share1));
    ByteVector second = share1;
    second[40] ^= 1U;
    const auto result = assembler.receive(1, 1, second);
    REQUIRE_FALSE(result);
    CHECK(result.error().abort_class == AbortClass::kAttributable);
    CHECK(result.error().culprits == Culprits{1});
    CHECK_FALSE(assembler.start(set, Digest()));
  }
  SECTION("refused: unknown sender, ourselves, rounds that do not exist, oversized") {
    CHECK_FALSE(protocols[kAssembler]->receive(6, 1, share1));
    CHECK_FALSE(signer(3, random)->receive(3, 1, share1));
    CHECK_FALSE(signer(3, random)->receive(0, 1, share1));
    CHECK_FALSE(signer(3, random)->receive(1, 0, share1));
    CHECK_FALSE(signer(3, random)->receive(1, 2, share1));
    CHECK_FALSE(signer(3, random)->receive(1, 1, ByteVector(1U << 20)));
    CHECK_FALSE(signer(3, random)->receive(1, 1, {}));
  }
  SECTION("a member outside the set after the start is refused") {
    REQUIRE(assembler.start(set, Digest()));
    const auto result = assembler.receive(5, 1, share1);
    REQUIRE_FALSE(result);
    CHECK(result.error().abort_class == AbortClass::kRecoverable);
  }
  SECTION("a signer that does not assemble takes no messages") {
    CHECK_FALSE(protocols[1]->receive(4, 1, share4));
  }
}

TEST_CASE("FROST: a damaged key share or record is an error at once") {
  SeededRandom random(9);
  const KeyOutcome& key = keys().key(1);
  const auto refuse = [&](auto change, const char* what) {
    INFO(what);
    SecretVector secret = key.secret;
    SignParameters parameters = sign_parameters(key, {}, 1, 3);
    change(parameters, secret);
    parameters.secret = as_view(secret);
    CHECK_FALSE(make_sign(std::move(parameters), random));
  };
  refuse([](auto&, auto& secret) { secret.pop_back(); }, "short");
  refuse([](auto&, auto& secret) { secret.push_back(0); }, "long");
  refuse([](auto&, auto& secret) { secret[0] = 2; }, "version");
  refuse([](auto&, auto& secret) { secret[2] = 2; }, "another participant's");
  refuse([](auto&, auto& secret) { std::fill(secret.begin() + 3, secret.end(), 0); }, "zero");
  refuse([](auto&, auto& secret) { std::fill(secret.begin() + 3, secret.end(), 255); }, "order");
  refuse([](auto& p, auto&) { p.record.public_key.pop_back(); }, "public key");
  refuse([](auto& p, auto&) { p.record.threshold = 1; }, "threshold 1");
  refuse([](auto& p, auto&) { p.record.threshold = 6; }, "threshold above n");
  refuse([](auto& p, auto&) { p.assembler = 9; }, "assembler");
  refuse([](auto& p, auto&) { p.self = 2; }, "self");
  refuse([](auto& p, auto&) { std::swap(p.record.public_shares[0], p.record.public_shares[1]); },
         "unsorted");
}
