#pragma once
// The OT state of one pair, made once: for tests below the level of a session.

#include "crypto/dkls23/pair_setup.h"
#include "crypto/dkls23/vole.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/fixture.h"

namespace cosigner::dkls23::test {

struct PairStatesOfBoth {
  PairState a;  ///< participant 1's
  PairState b;  ///< participant 2's
};

inline PairStatesOfBoth make_pair(Random& random) {
  const Digest sid = digest_of("a pair");
  PairSetup a(sid, 1, 2, random);
  PairSetup b(sid, 2, 1, random);
  const auto answer_a = a.answer(b.first_message(), random).value();
  const auto answer_b = b.answer(a.first_message(), random).value();
  return {a.finish(as_view(answer_b)).value(), b.finish(as_view(answer_a)).value()};
}

inline const PairStatesOfBoth& shared_pair() {
  static const PairStatesOfBoth pair = [] {
    SeededRandom random(77);
    return make_pair(random);
  }();
  return pair;
}

}  // namespace cosigner::dkls23::test
