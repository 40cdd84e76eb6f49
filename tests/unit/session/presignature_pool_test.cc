// The pool by itself: what may be taken by whom, and that taking is moving out.
#include "worker/session/presignature_pool.h"

#include <catch2/catch.hpp>

#include "crypto/base/random.h"

using namespace cosigner;
using namespace cosigner::worker;
using secp256k1::Point;
using secp256k1::SecretScalar;

namespace {

const SigningSet kAB{{1, "a", 5}, {2, "b", 7}};
const SigningSet kAC{{1, "a", 5}, {3, "c", 9}};

Digest id_of(std::uint8_t number) {
  Digest id;
  id.data[0] = number;
  return id;
}

PresignaturePool::Entry entry(std::uint8_t number, const SigningSet& signers, std::string owner,
                              std::int64_t made_us = 0) {
  SystemRandom random;
  SessionId run;
  run.data[0] = number;
  return {.run = run,
          .signers = signers,
          .owner = std::move(owner),
          .number = number,
          .made_us = made_us,
          .presignature =
              dkls23::Presignature(id_of(number), {signers[0].index, signers[1].index},
                                   Point::generator(), SecretScalar::random(random),
                                   SecretScalar::random(random), SecretScalar::random(random))};
}

}  // namespace

TEST_CASE("own presignatures are taken once, oldest first, for exactly their set") {
  PresignaturePool pool("a");
  for (std::uint8_t i = 1; i <= 4; ++i) {
    pool.add(entry(i, i == 4 ? kAC : kAB, "a"));
  }
  CHECK(pool.own() == 4);
  CHECK(pool.lowest_own() == 1);
  CHECK(pool.own(kAB) == 3);
  SigningSet later = kAB;
  later[1].generation = 8;
  CHECK_FALSE(pool.take_own(later));
  CHECK(pool.take_own(kAB)->id() == id_of(1));
  CHECK(pool.take_own(kAB)->id() == id_of(2));
  CHECK(pool.lowest_own() == 3);
  CHECK(pool.take_own(kAC)->id() == id_of(4));
  CHECK_FALSE(pool.take_own(kAC));
  CHECK(pool.take_own(kAB)->id() == id_of(3));
  CHECK(pool.size() == 0);
  CHECK_FALSE(pool.lowest_own());
}

TEST_CASE("the best set is the fullest one whose workers have all offered") {
  PresignaturePool pool("a");
  pool.add(entry(1, kAB, "a"));
  pool.add(entry(2, kAC, "a"));
  pool.add(entry(3, kAC, "a"));
  CHECK(*pool.best_set({{"b", 7}, {"c", 9}}) == kAC);
  CHECK(*pool.best_set({{"b", 7}}) == kAB);
  CHECK(pool.best_set({{"b", 8}}) == nullptr);
  CHECK(pool.best_set({{"c", 1}}) == nullptr);
  CHECK(pool.best_set({}) == nullptr);
}

TEST_CASE("checklist: presig double use: a named presignature is given to its owner's start once") {
  PresignaturePool pool("a");
  pool.add(entry(1, kAB, "b"));
  pool.add(entry(2, kAB, "a"));
  CHECK(pool.held_for("b") == 1);
  CHECK(pool.own() == 1);
  CHECK_FALSE(pool.take_named(id_of(1), "a", kAB));
  CHECK_FALSE(pool.take_named(id_of(1), "c", kAB));
  CHECK_FALSE(pool.take_named(id_of(1), "b", kAC));
  SigningSet later = kAB;
  later[0].generation = 6;
  CHECK_FALSE(pool.take_named(id_of(1), "b", later));
  CHECK_FALSE(pool.take_named(id_of(9), "b", kAB));
  CHECK_FALSE(pool.take_named(id_of(2), "b", kAB));
  CHECK(pool.take_named(id_of(1), "b", kAB)->id() == id_of(1));
  CHECK_FALSE(pool.take_named(id_of(1), "b", kAB));
  CHECK(pool.held_for("b") == 0);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<PresignaturePool::Entry>);
}

TEST_CASE("dropping: a node's, a run's, and what an owner will not name any more") {
  PresignaturePool pool("a");
  pool.add(entry(1, kAB, "b", 100));
  pool.add(entry(2, kAB, "b", 200));
  pool.add(entry(3, kAB, "b", 300));
  pool.add(entry(4, kAC, "c", 100));
  pool.add(entry(5, kAC, "a", 100));
  pool.drop_below("b", 3, 150);
  CHECK(pool.held_for("b") == 2);
  SessionId run;
  run.data[0] = 4;
  pool.drop_run(run, "b");  // no member of its set
  CHECK(pool.held_for("c") == 1);
  pool.drop_run(run, "c");
  CHECK(pool.held_for("c") == 0);
  pool.drop_node("c");
  CHECK(pool.own() == 0);
  CHECK(pool.best_set({{"c", 9}}) == nullptr);
  CHECK(pool.size() == 2);
  pool.add(entry(2, kAB, "b"));  // the same one again is not held twice
  CHECK(pool.size() == 2);
}
