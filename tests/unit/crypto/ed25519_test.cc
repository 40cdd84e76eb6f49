// The Ed25519 group: what decodes, what the arithmetic says, and the start-up test.
#include <sodium.h>

#include <catch2/catch.hpp>

#include "crypto/ed25519/group.h"
#include "crypto/ed25519/self_test.h"
#include "tests/support/ed25519_encodings.h"
#include "tests/support/protocol_runner.h"
#include "tests/support/seeded_random.h"

using namespace cosigner;
using ed25519::Group;
using ed25519::Point;
using ed25519::Scalar;
using ed25519::SecretScalar;

namespace {
Point base() {
  return *Group::multiply_base_vartime(Scalar::from_u64(1));
}
}  // namespace

TEST_CASE("ed25519: every encoding that is not a canonical prime-order point is refused") {
  for (const auto& bad : test::kBadPoints) {
    INFO(bad.name);
    const ByteVector bytes = *from_hex(bad.hex);
    CHECK_FALSE(Point::decode(bytes));
    CHECK_FALSE(Group::multiply_encoded_vartime(Scalar::from_u64(8), bytes));
  }
  const ByteVector good = to_vector(base().view());
  CHECK(Point::decode(good));
  CHECK_FALSE(Point::decode(ByteView(good).first(31)));
  ByteVector longer = good;
  longer.push_back(0);
  CHECK_FALSE(Point::decode(longer));
  CHECK_FALSE(Point::decode({}));
  CHECK_FALSE(Group::multiply_encoded_vartime(Scalar::from_u64(8), ByteView(good).first(31)));
}

TEST_CASE("ed25519: scalars at and above the order are refused, those below are not") {
  for (const auto& bad : test::kBadScalars) {
    INFO(bad.name);
    CHECK_FALSE(Scalar::decode(*from_hex(bad.hex)));
    CHECK_FALSE(SecretScalar::decode(*from_hex(bad.hex)));
  }
  const Scalar largest = -Scalar::from_u64(1);
  CHECK(Scalar::decode(largest.encode()) == largest);
  CHECK(Scalar::decode(Scalar().encode()) == Scalar());
  CHECK_FALSE(Scalar::decode(largest.encode().view().first(31)));
}

TEST_CASE("ed25519: group laws, with the identity as an interim sum and as an error") {
  SeededRandom random(7);
  const SecretScalar a = SecretScalar::random(random);
  const SecretScalar b = SecretScalar::random(random);
  const Point pa = *Group::multiply_base(a);
  const Point pb = *Group::multiply_base(b);
  CHECK(Group::sum(std::array{pa, pb}) == Group::multiply_base(a + b));
  CHECK(Group::multiply_vartime(a.reveal(), pb) == Group::multiply_base(a * b));
  CHECK(Group::negate(pa) == Group::multiply_base(-a));
  CHECK(Group::sum(std::array{pa, Group::negate(pa), pb}) == pb);
  CHECK_FALSE(Group::sum(std::array{pa, Group::negate(pa)}));
  CHECK_FALSE(Group::sum({}));
  CHECK_FALSE(Group::multiply_base(SecretScalar()));
  CHECK_FALSE(Group::multiply_base_vartime(Scalar()));
  CHECK_FALSE(Group::multiply_vartime(Scalar(), pa));
  CHECK(*a.reveal().inverse_vartime() * a.reveal() == Scalar::from_u64(1));
  CHECK_FALSE(Scalar().inverse_vartime());
  CHECK((a + (-a)).is_zero());
  CHECK_FALSE(a.is_zero());
  CHECK((a.duplicate() * Scalar::from_u64(3)).reveal() == (a + a + a).reveal());
}

TEST_CASE("ed25519: a moved-from secret scalar is wiped") {
  SeededRandom random(8);
  SecretScalar secret = SecretScalar::random(random);
  const SecretScalar taken = std::move(secret);
  CHECK(secret.is_zero());  // NOLINT(bugprone-use-after-move): that is the point
  CHECK_FALSE(taken.is_zero());
}

TEST_CASE("ed25519: self-test passes here, and fails on a libsodium with CVE-2025-69277") {
  CHECK_FALSE(ed25519::self_test());
  // The vulnerable check: multiply by L, then look at X == 0 only, which P + (order 2) passes.
  const auto vulnerable = [](ByteView bytes) {
    return Point::decode(bytes).has_value() ||
           to_hex(bytes) == "9599999999999999999999999999999999999999999999999999999999999999";
  };
  const auto failure = ed25519::self_test(vulnerable);
  REQUIRE(failure);
  CHECK(failure->find("CVE-2025-69277") != std::string::npos);
  CHECK(ed25519::self_test([](ByteView) { return true; }));
  CHECK(ed25519::self_test([](ByteView) { return false; }));
}
