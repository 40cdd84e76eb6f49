// Session ids over real runs: every run of every protocol has its own, and what was said under one
// is worth nothing under another.
#include <catch2/catch.hpp>
#include <set>

#include "crypto/dkls23/sign_messages.h"
#include "crypto/protocol/key_share.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {

constexpr std::array<ParticipantIndex, 2> kBoth{1, 2};
const Digest kBoundMessage = digest_of("bound to its session");

using Prepare = std::function<void(ProtocolRunner&)>;

const Key& bound_key() {
  return shared_key(2, 3);
}

void prepare_sign(ProtocolRunner& runner, Random& random) {
  add_signers(runner, bound_key(), {1, 2}, kBoundMessage, random);
}
void prepare_presign(ProtocolRunner& runner, Random& random) {
  for (const ParticipantIndex i : kBoth) {
    runner.add(i, make_presign(sign_parameters(bound_key(), i, 1, {}), random).value());
  }
}
void prepare_presigned(ProtocolRunner& runner, Random& random) {
  auto pool = presign(bound_key(), {1, 2}, random);
  for (const ParticipantIndex i : kBoth) {
    runner.add(i, make_presigned_sign(sign_parameters(bound_key(), i, 1, kBoundMessage),
                                      std::move(pool.at(i)), random.bytes<Bytes<32>>())
                      .value());
  }
}
void prepare_renewal(ProtocolRunner& runner, Random& random) {
  for (const ParticipantIndex i : kBoth) {
    runner.add(i, make_renewal({.record = bound_key().at(i).record,
                                .secret = as_view(bound_key().at(i).secret),
                                .context = digest_of("a renewal"),
                                .self = i,
                                .peer = static_cast<ParticipantIndex>(3 - i)},
                               random)
                      .value());
  }
}
void prepare_keygen(ProtocolRunner& runner, Random& random) {
  for (const ParticipantIndex i : kBoth) {
    runner.add(i, cosigner::make_keygen(keygen_parameters(2, 2, i), random).value());
  }
}

struct Kind {
  const char* name;
  void (*prepare)(ProtocolRunner&, Random&);
  std::size_t echo_at;  ///< in round 1: the digest that stands for the session
  std::size_t rounds;   ///< said by 2 to 1, with the hello
};
constexpr std::array kKinds{
    Kind{"sign", prepare_sign, 0, 4}, Kind{"presign", prepare_presign, 0, 3},
    Kind{"presigned", prepare_presigned, 0, 2}, Kind{"renewal", prepare_renewal, 0, 4},
    Kind{"keygen", prepare_keygen, 4, 4}};

std::set<Digest> pair_ids(const Key& of) {
  std::set<Digest> out;
  for (const auto& [index, own] : of) {
    std::vector<ParticipantIndex> everyone;
    for (const auto& [other, unused] : of) {
      everyone.push_back(other);
    }
    const auto share = KeyShare<Secp256k1Group>::decode(as_view(own.secret));
    const auto states = decode_states(as_view(share->state), everyone).value();
    for (const auto& [peer, state] : states) {
      out.insert(state.id);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("ToB-5: no two runs of any protocol share a session id, nor two pairs an OT state's id") {
  // Everything that is the same from run to run is: key, signers, message, context. In one run all
  // see the same session.
  SeededRandom random(5);
  std::set<Digest> sessions;
  std::size_t runs = 0;
  for (const Kind& kind : kKinds) {
    for (int run = 0; run < 3; ++run) {
      INFO(kind.name);
      ProtocolRunner runner;
      kind.prepare(runner, random);
      const RunReport report = runner.run();
      REQUIRE_FALSE(report.any_abort());
      std::set<Digest> seen;
      for (const Envelope& envelope : report.delivered) {
        if (envelope.round == 1) {
          seen.insert(*Digest::from(ByteView(envelope.payload).subspan(kind.echo_at, 32)));
        }
      }
      CHECK(seen.size() == 1);
      sessions.merge(seen);
      ++runs;
    }
  }
  CHECK(sessions.size() == runs);
  // The same key generation twice: one id for each pair, and none of them again.
  std::set<Digest> pairs;
  for (int run = 0; run < 2; ++run) {
    ProtocolRunner runner;
    RunReport report = run_keygen(runner, 2, 3, random);
    std::set<Digest> ids = pair_ids(key_of(report));
    CHECK(ids.size() == 3);
    pairs.merge(ids);
    CHECK(ids.empty());  // all of them were new
  }
  // A renewal's is another than all of them and than the one it renews.
  ProtocolRunner renewal;
  prepare_renewal(renewal, random);
  RunReport report = renewal.run();
  Key renewed;
  for (const ParticipantIndex i : kBoth) {
    renewed.emplace(i, std::get<KeyOutcome>(std::move(*report.at(i).outcome)));
  }
  const std::set<Digest> old = pair_ids(bound_key());
  const auto share = KeyShare<Secp256k1Group>::decode(as_view(renewed.at(1).secret));
  const std::array<ParticipantIndex, 1> peer{2};
  const Digest id = decode_states(as_view(share->state), peer).value().at(2).id;
  CHECK_FALSE(old.contains(id));
  CHECK_FALSE(pairs.contains(id));
}

TEST_CASE("ToB-9: replay of every message in a later session is rejected, and burns nobody") {
  SeededRandom random(77);
  for (const Kind& kind : kKinds) {
    std::map<std::uint8_t, ByteVector> recorded;
    ProtocolRunner first;
    first.hook = [&](Envelope& envelope) {
      if (envelope.from == 2 && envelope.to == 1) {
        recorded[envelope.round] = envelope.payload;
      }
    };
    kind.prepare(first, random);
    REQUIRE_FALSE(first.run().any_abort());
    REQUIRE(recorded.size() == kind.rounds);
    for (const auto& [round, payload] : recorded) {
      INFO(kind.name << ", round " << int{round});
      ProtocolRunner again;
      again.hook = [&, replayed = round, old = payload](Envelope& envelope) {
        if (envelope.from == 2 && envelope.to == 1 && envelope.round == replayed) {
          envelope.payload = old;
        }
      };
      kind.prepare(again, random);
      const RunReport report = again.run();
      REQUIRE(report.at(1).abort);
      INFO(report.at(1).abort->reason);
      CHECK(report.at(1).abort->abort_class == AbortClass::kRecoverable);
      CHECK_FALSE(report.at(1).outcome);
      // 2 may have finished, where the replay took the place of its own last message: all it heard
      // was true. Then a renewed pair holds two states, which the workers find out and renew again;
      // and a key that one participant has refused is never activated.
      for (const ParticipantIndex i : kBoth) {
        if (report.at(i).abort) {
          CHECK(report.at(i).abort->abort_class == AbortClass::kRecoverable);
        }
      }
    }
  }
}
