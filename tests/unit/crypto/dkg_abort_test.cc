// Key generation against participants that do not follow it, field by field. 2 of 3; 2 cheats, 3 is
// the receiver that gets the altered bytes. Complaints and dealers that encrypt wrongly are in
// dkg_complaint_test.cc.
#include <catch2/catch.hpp>
#include <map>

#include "crypto/protocol/inbox.h"
#include "tests/support/seeded_random.h"
#include "tests/support/threshold_cluster.h"
#include "tests/unit/crypto/field_mutations.h"

using namespace cosigner;
using namespace cosigner::test;
using Indices = std::vector<ParticipantIndex>;

namespace {

constexpr ParticipantIndex kCheat = 2;
constexpr ParticipantIndex kVictim = 3;

// Offsets for t = 2, n = 3 and 32-byte points; see the layouts in crypto/dkg/*_message.h.
const std::map<int, std::vector<Field>> kFields{
    {0,
     {{"nonce", 0, 32, FieldKind::kBytes, Blame::kNobody},
      {"commitment", 32, 32, FieldKind::kBytes, Blame::kNobody},
      {"encryption key", 64, 32, FieldKind::kAgreementKey, Blame::kNobody}}},
    {1,
     {{"broadcast length", 0, 4, FieldKind::kCount, Blame::kSender},
      {"echo", 4, 32, FieldKind::kBytes, Blame::kNobody},
      {"vector length", 36, 2, FieldKind::kCount, Blame::kSender},
      {"F[0]", 38, 32, FieldKind::kPoint, Blame::kSender},
      {"F[1]", 70, 32, FieldKind::kPoint, Blame::kSender},
      {"number of proofs", 102, 2, FieldKind::kCount, Blame::kSender},
      {"A[0]", 104, 32, FieldKind::kPoint, Blame::kSender},
      {"z[0]", 136, 32, FieldKind::kScalar, Blame::kSender},
      {"A[1]", 168, 32, FieldKind::kPoint, Blame::kSender},
      {"z[1]", 200, 32, FieldKind::kScalar, Blame::kSender},
      {"chain-code share", 232, 32, FieldKind::kBytes, Blame::kSender},
      {"blinding", 264, 32, FieldKind::kBytes, Blame::kSender},
      {"direct length", 296, 4, FieldKind::kCount, Blame::kSender}}},
    {2,
     {{"broadcast length", 0, 4, FieldKind::kCount, Blame::kSender},
      {"aggregate", 4, 32, FieldKind::kBytes, Blame::kSender},
      {"echo", 36, 32, FieldKind::kBytes, Blame::kNobody},
      {"number of hashes", 68, 2, FieldKind::kCount, Blame::kSender},
      {"hash for 1", 70, 32, FieldKind::kBytes, Blame::kNobody},
      {"hash for 3", 102, 32, FieldKind::kBytes, Blame::kSender},
      {"direct length", 134, 4, FieldKind::kCount, Blame::kSender},
      {"ciphertext", 138, 48, FieldKind::kBytes, Blame::kSender}}},
    {3,
     {{"kind", 0, 1, FieldKind::kCount, Blame::kSender},
      {"transcript", 1, 32, FieldKind::kBytes, Blame::kNobody},
      {"S", 33, 32, FieldKind::kPoint, Blame::kSender},
      {"A", 65, 32, FieldKind::kPoint, Blame::kSender},
      {"z", 97, 32, FieldKind::kScalar, Blame::kSender}}}};

RunReport keygen(const Configure& configure, std::uint64_t seed = 31) {
  SeededRandom random(seed);
  return run_keygen(Scheme::kEd25519, 2, {1, 2, 3}, random, configure);
}

// (from, to, round) → payload of an honest run.
using Recording = std::map<std::tuple<ParticipantIndex, ParticipantIndex, int>, ByteVector>;
Recording record(std::uint64_t seed) {
  Recording out;
  const RunReport run = keygen(
      [&](ProtocolRunner& runner) {
        runner.hook = [&](Envelope& e) { out[{e.from, e.to, e.round}] = e.payload; };
      },
      seed);
  REQUIRE_FALSE(run.any_abort());
  return out;
}

Configure replace(int round, const ByteVector& payload) {
  return [=](ProtocolRunner& runner) {
    runner.hook = [=](Envelope& e) {
      if (e.from == kCheat && e.to == kVictim && e.round == round) {
        e.payload = payload;
      }
    };
  };
}

void check(const RunReport& run, Blame blame) {
  REQUIRE(run.at(kVictim).abort);
  CHECK_FALSE(run.at(kVictim).outcome);
  CHECK(run.at(kVictim).abort->culprits == (blame == Blame::kSender ? Indices{kCheat} : Indices{}));
  if (blame == Blame::kNobody) {
    CHECK(run.at(kVictim).abort->abort_class == AbortClass::kRecoverable);
  }
  for (const ParticipantIndex index : Indices{1, 2}) {  // nobody else names an innocent
    if (run.at(index).abort) {
      INFO(index << ": " << run.at(index).abort->reason);
      CHECK(run.at(index).abort->culprits.empty());
    }
  }
}

}  // namespace

TEST_CASE("DKG: every field of every message, altered in every way, is met with the right name") {
  const Recording honest = record(31);
  const Recording foreign = record(32);
  for (const auto& [round, fields] : kFields) {
    const ByteVector& payload = honest.at({kCheat, kVictim, round});
    CHECK(fields.back().offset + fields.back().size == payload.size());
    const std::vector<std::pair<std::string, ByteVector>> others{
        {"another party's", honest.at({1, kVictim, round})},
        {"another session's", foreign.at({kCheat, kVictim, round})}};
    for (const Field& field : fields) {
      for (const FieldMutation& mutation : mutations_of(payload, field, others)) {
        INFO("round " << round << ", " << field.name << ": " << mutation.name);
        check(keygen(replace(round, mutation.payload)), mutation.blame);
      }
    }
  }
}

TEST_CASE("DKG: whole messages of another session, another receiver, another sender") {
  const Recording honest = record(31);
  const Recording foreign = record(32);
  for (int round = 0; round <= 3; ++round) {
    INFO("round " << round);
    check(keygen(replace(round, foreign.at({kCheat, kVictim, round}))), Blame::kNobody);
    if (round != 0 && round != 3) {
      check(keygen(replace(round, honest.at({1, kVictim, round}))), Blame::kSender);
    }
  }
  // The deal that was meant for participant 1.
  check(keygen(replace(2, honest.at({kCheat, 1, 2}))), Blame::kSender);
  // Participant 1's confirmation, word by word.
  check(keygen(replace(3, honest.at({1, kVictim, 3}))), Blame::kSender);
}

TEST_CASE("DKG: a dropped message leaves everybody without a key, and nobody blamed") {
  for (int round = 1; round <= 3; ++round) {
    const RunReport run = keygen([&](ProtocolRunner& runner) {
      runner.hook = [&](Envelope& e) {
        e.copies = e.from == kCheat && e.to == kVictim && e.round == round ? 0 : 1;
      };
    });
    CHECK_FALSE(run.any_abort());
    CHECK_FALSE(run.at(kVictim).outcome);
  }
}

TEST_CASE("DKG: the set must be all participants with our hello as we sent it") {
  SeededRandom random(33);
  const auto refuse = [&](auto change, const char* what) {
    INFO(what);
    std::vector<SetMember> set;
    std::vector<std::unique_ptr<Protocol>> protocols;
    for (const ParticipantIndex index : Indices{1, 2, 3}) {
      protocols.push_back(std::move(
          *make_keygen(keygen_parameters(Scheme::kEd25519, 2, {1, 2, 3}, index), random)));
      set.push_back({index, protocols.back()->hello()});
    }
    change(set);
    const auto result = protocols[0]->start(set, Digest());
    REQUIRE_FALSE(result);
    CHECK(result.error().abort_class == AbortClass::kRecoverable);
    CHECK_FALSE(protocols[0]->start(set, Digest()));
    CHECK_FALSE(protocols[0]->receive(2, 1, {}));
  };
  refuse([](auto& set) { set.pop_back(); }, "one missing");
  refuse([](auto& set) { set.push_back({4, set[1].hello}); }, "one too many");
  refuse([](auto& set) { set[2] = set[1]; }, "repeated");
  refuse([](auto& set) { std::swap(set[1], set[2]); }, "unsorted");
  refuse([](auto& set) { set[0].index = 0; }, "zero");
  refuse([](auto& set) { set[0].hello[95] ^= 1U; }, "own hello altered");
  refuse([](auto& set) { set[0].hello = set[1].hello; }, "own hello replaced");
}

TEST_CASE("DKG: participants that start from different rendezvous make no key") {
  const RunReport run = keygen([](ProtocolRunner& runner) {
    runner.start_hook = [](ParticipantIndex receiver, std::vector<SetMember>&, Digest& binding) {
      binding.data[5] ^= receiver == kVictim ? 1U : 0U;
    };
  });
  for (const ParticipantIndex index : Indices{1, 2, 3}) {
    REQUIRE(run.at(index).abort);
    CHECK(run.at(index).abort->abort_class == AbortClass::kRecoverable);
    CHECK(run.at(index).abort->culprits.empty());
  }
}

TEST_CASE("DKG: a second, different message for one round is blamed on its sender") {
  for (std::uint8_t round = 1; round <= 3; ++round) {
    SeededRandom random(34);
    auto protocol =
        std::move(*make_keygen(keygen_parameters(Scheme::kEd25519, 2, {1, 2, 3}, 1), random));
    CHECK(protocol->receive(2, round, ByteVector{1, 2}));
    CHECK(protocol->receive(2, round, ByteVector{1, 2}));
    const auto result = protocol->receive(2, round, ByteVector{1, 3});
    REQUIRE_FALSE(result);
    CHECK(result.error().abort_class == AbortClass::kAttributable);
    CHECK(result.error().culprits == Indices{2});
    CHECK_FALSE(protocol->receive(3, round, ByteVector{1, 2}));  // dead
  }
}

TEST_CASE("inbox: refuses strangers, itself, rounds that do not exist, and what is too long") {
  const Indices peers{1, 2, 5};
  Inbox inbox(2, peers, 2, 10);
  CHECK(inbox.peers() == Indices{1, 5});
  const auto refused = [&](ParticipantIndex from, std::uint8_t round, std::size_t size) {
    const auto result = inbox.accept(from, round, ByteVector(size));
    return !result && result.error().abort_class == AbortClass::kRecoverable;
  };
  CHECK(refused(2, 1, 1));
  CHECK(refused(0, 1, 1));
  CHECK(refused(3, 1, 1));
  CHECK(refused(1, 0, 1));
  CHECK(refused(1, 3, 1));
  CHECK(refused(1, 1, 11));
  CHECK(*inbox.accept(1, 2, ByteVector(10)));
  CHECK_FALSE(*inbox.accept(1, 2, ByteVector(10)));
  CHECK_FALSE(inbox.complete(2));
  CHECK(*inbox.accept(5, 2, {}));
  CHECK(inbox.complete(2));
  CHECK_FALSE(inbox.complete(1));
  CHECK_FALSE(inbox.accept(5, 2, ByteVector(1)));
  const std::vector<SetMember> set{{2, {}}, {5, {}}};
  inbox.restrict_to(set);
  CHECK(inbox.peers() == Indices{5});
  CHECK_FALSE(inbox.has(1, 2));
  CHECK(inbox.payload(5, 2).empty());
}
