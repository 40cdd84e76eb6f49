#include "crypto/dkls23/base_ot.h"

#include "crypto/base/declassify.h"
#include "crypto/dkls23/hash_to_curve.h"
#include "crypto/dkls23/products.h"

namespace cosigner::dkls23 {

using secp256k1::Point;
using secp256k1::SecretPoint;
using secp256k1::SecretScalar;

namespace {

constexpr std::size_t kPoint = 33;
constexpr std::size_t kPair = 2 * kPoint;

Point slot_hash(const TaggedHash& session, std::uint8_t slot, std::size_t j, ByteView other) {
  TaggedHash hash = session;
  hash.part_u8(slot).part_u32(static_cast<std::uint32_t>(j)).part(other);
  return hash_to_curve_vartime(hash);
}

OtKey derive_key(const TaggedHash& session, std::size_t j, std::uint8_t slot, ByteView slots,
                 ByteView reply, const SecretPoint& shared) {
  TaggedHash hash = session;
  hash.part_u32(static_cast<std::uint32_t>(j)).part_u8(slot);
  hash.part(slots.first(kPoint)).part(slots.last(kPoint));
  hash.part(reply.first(kPoint)).part(reply.last(kPoint));
  hash.part(shared.compressed().expose());
  SecretBytes<32> digest;
  hash.finish_into(digest.expose_mutable());
  return *OtKey::from(digest.expose().first(kSeedBytes));
}

TaggedHash session_hash(tag::Tag tag, const Digest& sid) {
  TaggedHash hash(tag);
  hash.part(sid);
  return hash;
}

/// `b` where mask is 0xff, `a` where it is 0.
Bytes<kPoint> select(std::uint8_t mask, const Bytes<kPoint>& a, const Bytes<kPoint>& b) {
  Bytes<kPoint> out;
  for (std::size_t i = 0; i < kPoint; ++i) {
    out.data[i] = static_cast<std::uint8_t>(a.data[i] ^ (mask & (a.data[i] ^ b.data[i])));
  }
  return out;
}

}  // namespace

BaseOtChooser::BaseOtChooser(const Digest& sid, Random& random)
    : sid_(sid), choices_(random.secret<kLambda / 8>()) {
  const TaggedHash hash = session_hash(tag::kBaseOtHash, sid);
  message_.reserve(kBaseOtMessageBytes);
  for (std::size_t j = 0; j < kLambda; ++j) {
    const std::uint8_t choice = bit_of(choices_.expose(), j);
    for (;;) {
      SecretScalar exponent = SecretScalar::random(random);
      const Point other = random_point(random);
      const Bytes<kPoint> other_bytes = other.encode();
      Point masked = *Point::generator_times(exponent);  // never zero
      // t·G would tell the choice, but the addition below branches on it only where it meets zero
      // or the identity, which happens with probability 2^-256.
      declassify(&masked.raw(), sizeof masked.raw());
      const std::optional<Point> chosen =
          secp256k1::sum_of(masked, slot_hash(hash, choice, j, other_bytes).negated());
      if (!chosen) {
        continue;  // the identity: 2^-256
      }
      const Bytes<kPoint> chosen_bytes = chosen->encode();
      // Not needed, but the sender evaluates it: with it, our work does not depend on the choice.
      (void)slot_hash(hash, choice ^ 1U, j, chosen_bytes);
      const std::uint8_t mask = byte_mask(choice);
      Bytes<kPoint> slot0 = select(mask, chosen_bytes, other_bytes);
      Bytes<kPoint> slot1 = select(mask, other_bytes, chosen_bytes);
      // Sent to the peer: the order of two uniformly random points hides the choice (endemic OT).
      declassify(slot0.data.data(), kPoint);
      declassify(slot1.data.data(), kPoint);
      message_.insert(message_.end(), slot0.data.begin(), slot0.data.end());
      message_.insert(message_.end(), slot1.data.begin(), slot1.data.end());
      exponents_.push_back(std::move(exponent));
      break;
    }
  }
}

std::expected<std::vector<OtKey>, Refusal> BaseOtChooser::finish(ByteView reply) const {
  if (reply.size() != kBaseOtMessageBytes) {
    return std::unexpected(Refusal::kMalformed);
  }
  std::vector<Point> points;
  points.reserve(2 * kLambda);
  for (std::size_t i = 0; i < 2 * kLambda; ++i) {
    const std::optional<Point> point = Point::decode(reply.subspan(i * kPoint, kPoint));
    if (!point) {
      return std::unexpected(Refusal::kMalformed);  // whichever of the two it was
    }
    points.push_back(*point);
  }
  const TaggedHash hash = session_hash(tag::kBaseOtKey, sid_);
  std::vector<OtKey> keys;
  keys.reserve(kLambda);
  for (std::size_t j = 0; j < kLambda; ++j) {
    const std::uint8_t choice = bit_of(choices_.expose(), j);
    const Point selected = Point::select(points[2 * j], points[2 * j + 1], byte_mask(choice));
    // Two valid points were selected between without a branch. The multiplication treats its point
    // operand like any other unless it is zero or hits an exceptional addition (2^-256).
    declassify(&selected.raw(), sizeof selected.raw());
    const std::optional<SecretPoint> shared = SecretPoint::times(exponents_[j], selected);
    keys.push_back(derive_key(hash, j, choice, ByteView(message_).subspan(j * kPair, kPair),
                              reply.subspan(j * kPair, kPair), *shared));
  }
  return keys;
}

std::expected<BaseOtSent, Refusal> base_ot_send(const Digest& sid, ByteView message,
                                                Random& random) {
  if (message.size() != kBaseOtMessageBytes) {
    return std::unexpected(Refusal::kMalformed);
  }
  const TaggedHash hash = session_hash(tag::kBaseOtHash, sid);
  const TaggedHash key_hash = session_hash(tag::kBaseOtKey, sid);
  BaseOtSent out;
  out.reply.reserve(kBaseOtMessageBytes);
  out.keys.reserve(kLambda);
  for (std::size_t j = 0; j < kLambda; ++j) {
    const ByteView slots = message.subspan(j * kPair, kPair);
    std::array<std::optional<SecretPoint>, 2> shared;
    for (std::uint8_t a = 0; a < 2; ++a) {
      const ByteView own = a == 0 ? slots.first(kPoint) : slots.last(kPoint);
      const ByteView other = a == 0 ? slots.last(kPoint) : slots.first(kPoint);
      const std::optional<Point> slot = Point::decode(own);
      const std::optional<Point> full =
          slot ? secp256k1::sum_of(*slot, slot_hash(hash, a, j, other)) : std::nullopt;
      if (!full) {
        return std::unexpected(Refusal::kMalformed);
      }
      const SecretScalar exponent = SecretScalar::random(random);
      const Bytes<kPoint> encoded = published_product(exponent).encode();
      out.reply.insert(out.reply.end(), encoded.data.begin(), encoded.data.end());
      shared[a] = SecretPoint::times(exponent, *full);
    }
    const ByteView reply = ByteView(out.reply).subspan(j * kPair, kPair);
    out.keys.push_back({derive_key(key_hash, j, 0, slots, reply, *shared[0]),
                        derive_key(key_hash, j, 1, slots, reply, *shared[1])});
  }
  return out;
}

}  // namespace cosigner::dkls23
