// OT extension and VOLE: the arithmetic underneath, and every way to tamper with their messages.

#include <catch2/catch.hpp>

#include "crypto/dkls23/gf128.h"
#include "crypto/dkls23/session_hash.h"
#include "tests/support/seeded_random.h"
#include "tests/unit/dkls/pair_fixture.h"

using namespace cosigner;
using namespace cosigner::dkls23;
using namespace cosigner::dkls23::test;

namespace {

const Digest kSid = digest_of("a session of a pair");

/// One VOLE between participant 1 (sender) and 2 (receiver).
struct Vole {
  explicit Vole(std::uint64_t seed)
      : random(seed),
        gadget(kSid),
        receiver(kSid, gadget, shared_pair().b.receiver, random),
        a0(SecretScalar::random(random)),
        a1(SecretScalar::random(random)) {}

  std::expected<VoleSent, Refusal> send(ByteView ot_message) {
    return vole_send(kSid, gadget, shared_pair().a.sender, ot_message, a0, a1, random);
  }

  SeededRandom random;
  Gadget gadget;
  VoleReceiver receiver;
  SecretScalar a0;
  SecretScalar a1;
};

ByteVector flipped(ByteView bytes, std::size_t bit) {
  ByteVector out = to_vector(bytes);
  out[bit / 8] = static_cast<std::uint8_t>(out[bit / 8] ^ (1U << (bit % 8)));
  return out;
}

}  // namespace

TEST_CASE("the short session hash is the tagged hash with a filler part") {
  const SessionHash hash(tag::kOtExtensionOut, kSid);
  HashBlock block;
  block.part_u32(7);
  const std::size_t offset = block.part(ByteVector(16, 0xab));
  const ByteVector other(16, 0xcd);
  block.set(offset, other.data(), other.size());
  Digest out;
  hash.digest(block, out.data.data());
  CHECK(out == TaggedHash(tag::kOtExtensionOut)
                   .part(kSid)
                   .part(ByteVector(24))
                   .part_u32(7)
                   .part(other)
                   .finish());
}

TEST_CASE(
    "the check over GF(2^128): special instructions equal the portable code, and unit vectors") {
  SeededRandom random(5);
  for (int i = 0; i < 1'000; ++i) {
    Challenges challenges;
    for (Block& challenge : challenges) {
      challenge = {random.next_u64(), random.next_u64()};
    }
    std::array<std::uint8_t, kRowBytes> row;
    random.fill(row);
    const RowBlocks blocks = RowBlocks::load(row.data());
    const Block fast = linear_check(challenges, blocks);
    const Block slow = linear_check_portable(challenges, blocks);
    CHECK((fast.low == slow.low && fast.high == slow.high));
  }
  // Bit i of the row contributes χ_{i/128}·x^{i mod 128}; ξ = 416 is no multiple of 128, so the
  // last block has 32 bits, and the tail starts at bit 416.
  const Challenges ones{Block{1, 0}, Block{1, 0}, Block{1, 0}, Block{1, 0}};
  for (const std::size_t bit : {0U, 63U, 64U, 127U, 128U, 383U, 384U, 415U, 416U, 543U}) {
    std::array<std::uint8_t, kRowBytes> row{};
    row[bit / 8] = static_cast<std::uint8_t>(1U << (bit % 8));
    const std::size_t power = bit < kOtCount ? bit % 128 : bit - kOtCount;
    const Block got = linear_check(ones, RowBlocks::load(row.data()));
    CHECK(got.low == (power < 64 ? 1ULL << power : 0));
    CHECK(got.high == (power < 64 ? 0 : 1ULL << (power - 64)));
  }
  // x^127 · x = x^7 + x^2 + x + 1.
  Challenges x{};
  x[0] = {2, 0};
  std::array<std::uint8_t, kRowBytes> top{};
  top[15] = 0x80;
  CHECK(linear_check(x, RowBlocks::load(top.data())).low == 0x87);
}

TEST_CASE("the bit matrix is transposed") {
  SeededRandom random(6);
  std::array<std::uint8_t, kLambda * kRowBytes> rows;
  random.fill(rows);
  std::array<std::uint8_t, kOtCount * kColumnBytes> columns;
  transpose_columns(rows.data(), kRowBytes, columns.data());
  for (std::size_t i = 0; i < kLambda; ++i) {
    for (std::size_t j = 0; j < kOtCount; ++j) {
      REQUIRE(bit_of(ByteView(rows).subspan(i * kRowBytes, kRowBytes), j) ==
              bit_of(ByteView(columns).subspan(j * kColumnBytes, kColumnBytes), i));
    }
  }
}

TEST_CASE("OT extension: columns differ by Δ exactly where β_j = 1") {
  SeededRandom random(7);
  const OtReceived received = ot_extension_receive(kSid, shared_pair().b.receiver, random);
  const auto sent = ot_extension_send(kSid, shared_pair().a.sender, received.message);
  REQUIRE(sent);
  for (std::size_t j = 0; j < kOtCount; ++j) {
    for (std::size_t byte = 0; byte < kColumnBytes; ++byte) {
      const std::uint8_t delta = shared_pair().a.sender.delta.expose()[byte];
      const unsigned difference = sent->columns.expose()[j * kColumnBytes + byte] ^
                                  received.columns.expose()[j * kColumnBytes + byte];
      REQUIRE(difference == (bit_of(received.beta.expose(), j) == 1 ? delta : 0));
    }
  }
}

TEST_CASE("checklist App. F: c + d = a·b, also for zero inputs") {
  Vole vole(8);
  vole.a1 = SecretScalar();
  const auto sent = vole.send(vole.receiver.message());
  REQUIRE(sent);
  const auto d = vole.receiver.finish(vole.gadget, sent->message);
  REQUIRE(d);
  CHECK((sent->c[0] + (*d)[0] - vole.a0 * vole.receiver.b()).is_zero());
  CHECK((sent->c[1] + (*d)[1]).is_zero());
}

TEST_CASE("checklist: flip each bit class of (u, x, t): the OT extension check fails") {
  Vole vole(9);
  const ByteVector message = vole.receiver.message();
  const ByteView delta = shared_pair().a.sender.delta.expose();
  const std::size_t x_at = kGroups * kRowBytes;
  const std::size_t t_at = x_at + 16;
  // u: a flipped bit of row g enters the sender's rows only where Δ has a bit in group g, and
  // changes χ in any case, so it is found either way.
  for (const std::size_t group : {std::size_t{0}, std::size_t{31}, kGroups - 1}) {
    for (const std::size_t bit :
         {std::size_t{0}, std::size_t{415}, std::size_t{416}, std::size_t{543}}) {
      const auto sent = vole.send(flipped(message, group * kRowBytes * 8 + bit));
      REQUIRE_FALSE(sent);
      CHECK(sent.error() == Refusal::kCheckFailed);
    }
  }
  // x̂ is used where a bit of Δ is one: there are some.
  REQUIRE_FALSE(std::ranges::all_of(delta, [](std::uint8_t byte) { return byte == 0; }));
  CHECK(vole.send(flipped(message, x_at * 8)).error() == Refusal::kCheckFailed);
  CHECK(vole.send(flipped(message, x_at * 8 + 127)).error() == Refusal::kCheckFailed);
  for (const std::size_t row : {std::size_t{0}, std::size_t{64}, kLambda - 1}) {
    CHECK(vole.send(flipped(message, (t_at + 16 * row) * 8 + 5)).error() == Refusal::kCheckFailed);
  }
  CHECK(vole.send(ByteView(message).first(message.size() - 1)).error() == Refusal::kMalformed);
  CHECK(vole.send(message));  // the message itself is still good
}

TEST_CASE("checklist: flip each of ã, η, μ: the VOLE check fails, malformed ones are told apart") {
  Vole vole(10);
  const auto sent = vole.send(vole.receiver.message());
  REQUIRE(sent);
  const std::size_t eta_at = kOtCount * kWidth * 32;
  for (std::size_t row : {std::size_t{0}, std::size_t{200}, kOtCount - 1}) {
    for (std::size_t i = 0; i < kWidth; ++i) {
      const std::size_t last_byte = 32 * (row * kWidth + i) + 31;
      CHECK(vole.receiver.finish(vole.gadget, flipped(sent->message, 8 * last_byte)).error() ==
            Refusal::kCheckFailed);
    }
  }
  CHECK(vole.receiver.finish(vole.gadget, flipped(sent->message, 8 * (eta_at + 31))).error() ==
        Refusal::kCheckFailed);
  CHECK(vole.receiver.finish(vole.gadget, flipped(sent->message, 8 * (eta_at + 32))).error() ==
        Refusal::kCheckFailed);
  // A scalar of q or more is malformed, wherever it stands.
  for (const std::size_t at : {std::size_t{0}, std::size_t{32} * 700, eta_at}) {
    ByteVector large = sent->message;
    std::fill_n(large.begin() + static_cast<std::ptrdiff_t>(at), 32, 0xff);
    CHECK(vole.receiver.finish(vole.gadget, large).error() == Refusal::kMalformed);
  }
  CHECK(vole.receiver.finish(vole.gadget, ByteView(sent->message).subspan(1)).error() ==
        Refusal::kMalformed);
}

TEST_CASE("checklist: consistent-cheat row j is accepted iff β_j = 0 (selective failure)") {
  // A sender that adds one to its input in row j only, with η and μ made to fit. It learns β_j from
  // whether the receiver accepts: the reason why a failed check burns the pair.
  Vole vole(11);
  const SenderState& state = shared_pair().a.sender;
  const auto ot = ot_extension_send(kSid, state, vole.receiver.message());
  REQUIRE(ot);
  const SecretScalar a_hat = SecretScalar::random(vole.random);
  const Block delta = Block::load(state.delta.expose().data());
  // The receiver's β, from the columns: row j's two strings are told apart by what was received.
  SeededRandom again(11);
  const OtReceived received = ot_extension_receive(kSid, shared_pair().b.receiver, again);
  REQUIRE(received.message == vole.receiver.message());

  std::array<int, 2> seen{};
  for (std::size_t cheat = 0; cheat < 12; ++cheat) {
    OtOutput output(kSid);
    std::vector<std::array<Limbs, kWidth>> alpha0(kOtCount);
    Writer rows;
    for (std::size_t j = 0; j < kOtCount; ++j) {
      std::array<Limbs, kWidth> alpha1;
      const std::uint8_t* column = ot->columns.expose().data() + j * kColumnBytes;
      output.scalars(j, column, alpha0[j].data());
      std::array<std::uint8_t, kColumnBytes> other;
      (Block::load(column) ^ delta).store(other.data());
      output.scalars(j, other.data(), alpha1.data());
      for (std::size_t i = 0; i < kWidth; ++i) {
        const Limbs& input = i == 0 ? vole.a0.limbs() : i == 1 ? vole.a1.limbs() : a_hat.limbs();
        Limbs value = add(subtract(alpha0[j][i], alpha1[i]), input);
        if (j == cheat && i == 0) {
          value = add(value, Scalar::from_u64(1).limbs());
        }
        rows.fixed(Scalar(value).encode());
      }
    }
    TaggedHash theta(tag::kVoleTheta);
    theta.part(kSid).part(rows.view());
    const auto theta_of = [&](std::uint32_t i) {
      TaggedHash one = theta;
      return Scalar::reduce(one.part_u32(i).finish());
    };
    const Scalar theta0 = theta_of(0);
    const Scalar theta1 = theta_of(1);
    Writer mu;
    for (const auto& row : alpha0) {
      mu.fixed((Scalar(row[2]) + theta0 * Scalar(row[0]) + theta1 * Scalar(row[1])).encode());
    }
    const Scalar eta = (a_hat + theta0 * vole.a0 + theta1 * vole.a1).reveal();
    const Digest mu_hash = TaggedHash(tag::kVoleMu).part(kSid).part(mu.view()).finish();
    const ByteVector message =
        Writer().fixed(rows.view()).fixed(eta.encode()).fixed(mu_hash).take();

    const bool beta = bit_of(received.beta.expose(), cheat) == 1;
    ++seen[beta ? 1 : 0];
    CHECK(vole.receiver.finish(vole.gadget, message).has_value() == !beta);
  }
  CHECK(seen[0] > 0);
  CHECK(seen[1] > 0);
}

TEST_CASE("a replayed OT extension message fails under another session id") {
  Vole vole(12);
  const Digest other = digest_of("another session of the pair");
  CHECK(ot_extension_send(other, shared_pair().a.sender, vole.receiver.message()).error() ==
        Refusal::kCheckFailed);
}

TEST_CASE("Don't overextend your OT: a message whose x and t were made for other u's is refused") {
  // The break of 2023-09: a KOS check whose failure had no consequence. Here it has one.
  Vole one(13);
  Vole two(14);
  ByteVector mixed = one.receiver.message();
  std::copy(two.receiver.message().begin() + kGroups * kRowBytes, two.receiver.message().end(),
            mixed.begin() + kGroups * kRowBytes);
  CHECK(one.send(mixed).error() == Refusal::kCheckFailed);
}
