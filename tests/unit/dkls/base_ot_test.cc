// Base OT, hash to curve and PPRF.

#include "crypto/dkls23/base_ot.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "crypto/dkls23/hash_to_curve.h"
#include "crypto/dkls23/pprf.h"
#include "tests/support/full.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/pair_fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {
const Digest kOtSid = digest_of("a base OT");
}

TEST_CASE("checklist: hash to curve is try and increment on x: two implementations agree") {
  // Redone here from plain SHA-256 and the curve equation's parser alone. There is no
  // multiplication of the generator anywhere in this path; a hash times G would have a known
  // discrete logarithm.
  for (std::uint32_t i = 0; i < 64; ++i) {
    TaggedHash input(tag::kBaseOtHash);
    input.part(kOtSid).part_u32(i);
    const Point got = hash_to_curve_vartime(input);

    const Digest prefix = Sha256().update(as_bytes(tag::kBaseOtHash.name)).finish();
    std::optional<Point> expected;
    for (std::uint32_t counter = 0; !expected; ++counter) {
      std::array<Digest, 2> blocks;
      for (std::uint32_t block = 0; block < 2; ++block) {
        const ByteVector parts =
            Writer().bytes(kOtSid).u32(4).u32(i).u32(4).u32(counter).u32(4).u32(block).take();
        blocks[block] = Sha256().update(prefix).update(prefix).update(parts).finish();
      }
      ByteVector candidate{static_cast<std::uint8_t>(2 + (blocks[0].data[0] & 1U))};
      candidate.insert(candidate.end(), blocks[0].data.begin() + 1, blocks[0].data.end());
      candidate.push_back(blocks[1].data[0]);
      expected = Point::decode(candidate);
    }
    CHECK(got == *expected);
  }
}

TEST_CASE("base OT gives the chooser exactly the chosen keys") {
  SeededRandom random(1);
  const BaseOtChooser chooser(kOtSid, random);
  const auto sent = base_ot_send(kOtSid, chooser.message(), random);
  REQUIRE(sent);
  const auto keys = chooser.finish(sent->reply);
  REQUIRE(keys);
  for (std::size_t j = 0; j < kLambda; ++j) {
    const std::size_t choice = bit_of(chooser.choices(), j);
    CHECK(constant_time_equal((*keys)[j].expose(), sent->keys[j][choice].expose()));
    CHECK_FALSE(constant_time_equal((*keys)[j].expose(), sent->keys[j][1 - choice].expose()));
  }
}

TEST_CASE("checklist: endemic messages are uniform per slot: nothing public tells the choice") {
  // The attack on XOR-style endemic OT read the choice off the messages themselves. Here every
  // public feature of a slot must be independent of whether it is the chosen one: parity of y, the
  // first and last bits of x, and how many tries the slot's hash takes.
  SeededRandom random(2);
  constexpr std::size_t kFeatures = 4;
  std::array<std::array<int, 2>, kFeatures> ones{};  // [feature][is the chosen slot]
  int samples = 0;
  for (int run = 0; run < cosigner::test::rounds(8, 100); ++run) {
    const BaseOtChooser chooser(kOtSid, random);
    for (std::size_t j = 0; j < kLambda; ++j, ++samples) {
      const std::size_t choice = bit_of(chooser.choices(), j);
      for (std::size_t slot = 0; slot < 2; ++slot) {
        const ByteView bytes = ByteView(chooser.message()).subspan((2 * j + slot) * 33, 33);
        const ByteView other = ByteView(chooser.message()).subspan((2 * j + 1 - slot) * 33, 33);
        const std::size_t chosen = slot == choice ? 1 : 0;
        ones[0][chosen] += bytes[0] & 1;
        ones[1][chosen] += bytes[1] >> 7;
        ones[2][chosen] += bytes[32] & 1;
        // Whether the first try of this slot's hash lies on the curve.
        TaggedHash hash(tag::kBaseOtHash);
        hash.part(kOtSid).part_u8(static_cast<std::uint8_t>(slot));
        hash.part_u32(static_cast<std::uint32_t>(j)).part(other).part_u32(0);
        std::array<std::uint8_t, 33> candidate;
        hash.expand_into(candidate);
        candidate[0] = static_cast<std::uint8_t>(2 + (candidate[0] & 1U));
        ones[3][chosen] += Point::decode(candidate) ? 1 : 0;
      }
    }
  }
  // Five standard deviations of a fair coin: √n/2 each.
  const double limit = 5 * 0.5 * std::sqrt(samples);
  for (const auto& feature : ones) {
    CHECK(std::abs(feature[0] - samples / 2.0) < limit);
    CHECK(std::abs(feature[1] - samples / 2.0) < limit);
  }
}

TEST_CASE("checklist: all-zero, identity, non-canonical and hybrid encodings are rejected") {
  SeededRandom random(3);
  const BaseOtChooser chooser(kOtSid, random);
  const auto sent = base_ot_send(kOtSid, chooser.message(), random);
  REQUIRE(sent);
  const std::string field = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f";
  for (const std::string& bad :
       {std::string(66, '0'),                       // all zero: an "identity" of other libraries
        "00" + std::string(64, 'f'), "02" + field,  // x = p
        "03" + std::string(64, 'f'),                // x above p
        "02" + std::string(64, '0'),                // x = 0 is not on the curve
        "06" + to_hex(ByteView(chooser.message()).subspan(1, 32)),
        "07" + to_hex(ByteView(chooser.message()).subspan(1, 32)),
        "04" + to_hex(ByteView(chooser.message()).subspan(1, 32)),
        "05" + to_hex(ByteView(chooser.message()).subspan(1, 32))}) {
    const ByteVector bytes = from_hex(bad).value();
    REQUIRE(bytes.size() == 33);
    CHECK_FALSE(Point::decode(bytes));
    // In either slot of either message, whatever the choice: one verdict.
    for (const std::size_t at : {std::size_t{0}, std::size_t{33}, kBaseOtMessageBytes - 33}) {
      ByteVector message = chooser.message();
      std::ranges::copy(bytes, message.begin() + static_cast<std::ptrdiff_t>(at));
      CHECK(base_ot_send(kOtSid, message, random).error() == Refusal::kMalformed);
      ByteVector reply = sent->reply;
      std::ranges::copy(bytes, reply.begin() + static_cast<std::ptrdiff_t>(at));
      CHECK(chooser.finish(reply).error() == Refusal::kMalformed);
    }
  }
  const Bytes<33> good = Point::generator().encode();
  CHECK(Point::decode(good));
  CHECK_FALSE(Point::decode(ByteView(good).first(32)));
  CHECK_FALSE(Point::decode(Point::generator().uncompressed()));
  ByteVector hybrid = to_vector(Point::generator().uncompressed());
  hybrid[0] = 6;
  CHECK_FALSE(Point::decode_uncompressed(hybrid));
  hybrid[0] = 7;
  CHECK_FALSE(Point::decode_uncompressed(hybrid));
  CHECK(base_ot_send(kOtSid, ByteView(chooser.message()).first(100), random).error() ==
        Refusal::kMalformed);
  CHECK(chooser.finish(ByteView(sent->reply).first(100)).error() == Refusal::kMalformed);
}

TEST_CASE("a base OT message that makes M the identity is refused") {
  // slot0 = −Hash(0, 0, slot1) gives M_0 = identity.
  SeededRandom random(4);
  const BaseOtChooser chooser(kOtSid, random);
  ByteVector message = chooser.message();
  TaggedHash hash(tag::kBaseOtHash);
  hash.part(kOtSid).part_u8(0).part_u32(0).part(ByteView(message).subspan(33, 33));
  const Bytes<33> crafted = hash_to_curve_vartime(hash).negated().encode();
  std::ranges::copy(crafted.data, message.begin());
  CHECK(base_ot_send(kOtSid, message, random).error() == Refusal::kMalformed);
}

TEST_CASE(
    "PPRF: the evaluator holds every leaf but the one at Δ, any tampering is a failed check") {
  SeededRandom random(5);
  const BaseOtChooser chooser(kOtSid, random);
  const auto sent = base_ot_send(kOtSid, chooser.message(), random);
  const auto keys = chooser.finish(sent->reply);
  const PprfBuilt built = pprf_build(kOtSid, sent->keys);
  const auto state = pprf_evaluate(kOtSid, chooser.choices(), *keys, built.message);
  REQUIRE(state);
  for (std::size_t g = 0; g < kGroups; ++g) {
    const unsigned missing =
        bit_of(state->delta.expose(), 2 * g) + 2U * bit_of(state->delta.expose(), 2 * g + 1);
    for (std::size_t y = 0; y < kGroupSize; ++y) {
      const std::size_t at = (g * kGroupSize + y) * kSeedBytes;
      const ByteView known = state->leaves.expose().subspan(at, kSeedBytes);
      const ByteView real = built.state.leaves.expose().subspan(at, kSeedBytes);
      CHECK(std::ranges::equal(known, y == missing ? ByteView(ByteVector(16)) : real));
    }
  }
  // t̃ and s̃ of a group are always used; a correction only if the choice asks for it.
  int accepted = 0;
  for (std::size_t at = 0; at < kPprfMessageBytes; at += 8) {
    ByteVector bad = built.message;
    bad[at] = static_cast<std::uint8_t>(bad[at] ^ 1U);
    const auto result = pprf_evaluate(kOtSid, chooser.choices(), *keys, bad);
    const bool correction = at % kPprfGroupBytes < 2 * kSeedBytes;
    if (result) {
      CHECK(correction);
      ++accepted;
    } else {
      CHECK(result.error() == Refusal::kCheckFailed);
    }
  }
  CHECK(accepted == kGroups * 2);  // one of the two corrections of 16 bytes, each probed twice
  CHECK(
      pprf_evaluate(kOtSid, chooser.choices(), *keys, ByteView(built.message).subspan(1)).error() ==
      Refusal::kMalformed);
}
