#include "crypto/dkls23/vole.h"

#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"

namespace cosigner::dkls23 {

using secp256k1::add;
using secp256k1::limbs_to_bytes;
using secp256k1::masked;
using secp256k1::ProductSum;
using secp256k1::subtract;

namespace {

constexpr std::size_t kRowsBytes = kOtCount * kWidth * 32;

/// θ_0, θ_1: computed after and from all of ã, in order.
std::array<Limbs, 2> theta_of(const Digest& sid, ByteView rows) {
  TaggedHash hash(tag::kVoleTheta);
  hash.part(sid).part(rows);
  std::array<Limbs, 2> out;
  for (std::uint32_t i = 0; i < 2; ++i) {
    TaggedHash one = hash;
    out[i] = secp256k1::limbs_reduced(one.part_u32(i).finish().data.data());
  }
  return out;
}

/// The hash over μ_0 … μ_{ξ−1}, which are secret and wiped by the caller's buffer.
void mu_hash(const Digest& sid, const SecretVector& mu, std::span<std::uint8_t> out) {
  TaggedHash hash(tag::kVoleMu);
  hash.part(sid).part(as_view(mu));
  hash.finish_into(out);
}

}  // namespace

Gadget::Gadget(const Digest& session_sid) : values_(kOtCount) {
  const SessionHash hash(tag::kVoleGadget, session_sid);
  HashBlock block;
  const std::size_t index = block.part_u32(0);
  std::array<std::uint8_t, 32> bytes;
  for (std::size_t j = 0; j < kOtCount; ++j) {
    block.set_u32(index, static_cast<std::uint32_t>(j));
    hash.digest(block, bytes.data());
    values_[j] = secp256k1::limbs_reduced(bytes.data());
  }
}

VoleReceiver::VoleReceiver(const Digest& sid, const Gadget& gadget, const ReceiverState& state,
                           Random& random)
    : sid_(sid), ot_(ot_extension_receive(sid, state, random)) {
  ProductSum sum;
  for (std::size_t j = 0; j < kOtCount; ++j) {
    sum.add(masked(gadget[j], word_mask(bit_of(ot_.beta.expose(), j))));
  }
  b_ = SecretScalar(sum.reduce());
}

std::expected<ScalarPair, Refusal> VoleReceiver::finish(const Gadget& gadget,
                                                        ByteView message) const {
  if (message.size() != kVoleMessageBytes) {
    return std::unexpected(Refusal::kMalformed);
  }
  std::vector<Limbs> rows(kOtCount * kWidth);  // ã: public
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (secp256k1::limbs_canonical(message.data() + 32 * i, rows[i]) == 0) {
      return std::unexpected(Refusal::kMalformed);
    }
  }
  Limbs eta;
  if (secp256k1::limbs_canonical(message.data() + kRowsBytes, eta) == 0) {
    return std::unexpected(Refusal::kMalformed);
  }
  const std::array<Limbs, 2> theta = theta_of(sid_, message.first(kRowsBytes));

  OtOutput output(sid_);
  ProductSum d0;
  ProductSum d1;
  SecretVector mu(kOtCount * 32);
  std::array<Limbs, kWidth> dot;
  for (std::size_t j = 0; j < kOtCount; ++j) {
    const std::uint64_t mask = word_mask(bit_of(ot_.beta.expose(), j));
    output.scalars(j, ot_.columns.expose().data() + j * kColumnBytes, dot.data());
    for (std::size_t i = 0; i < kWidth; ++i) {
      dot[i] = add(dot[i], masked(rows[j * kWidth + i], mask));
    }
    d0.add_product(gadget[j], dot[0]);
    d1.add_product(gadget[j], dot[1]);
    ProductSum check;
    check.add_product(theta[0], dot[0]).add_product(theta[1], dot[1]).add(dot[2]);
    limbs_to_bytes(subtract(check.reduce(), masked(eta, mask)), mu.data() + 32 * j);
  }
  sodium_memzero(dot.data(), sizeof dot);
  std::array<std::uint8_t, 32> hash;
  mu_hash(sid_, mu, hash);
  const bool equal = constant_time_equal(hash, message.last(32));
  // The verdict over all rows is what comes out; a failure costs the pair its OT state.
  if (!declassified(equal)) {
    return std::unexpected(Refusal::kCheckFailed);
  }
  return ScalarPair{SecretScalar(d0.reduce()), SecretScalar(d1.reduce())};
}

std::expected<VoleSent, Refusal> vole_send(const Digest& sid, const Gadget& gadget,
                                           const SenderState& state, ByteView ot_message,
                                           const SecretScalar& a0, const SecretScalar& a1,
                                           Random& random) {
  const std::expected<OtSent, Refusal> ot = ot_extension_send(sid, state, ot_message);
  if (!ot) {
    return std::unexpected(ot.error());
  }
  const Block delta = Block::load(state.delta.expose().data());
  const SecretScalar a_hat = SecretScalar::random(random);
  const std::array<const Limbs*, kWidth> input{&a0.limbs(), &a1.limbs(), &a_hat.limbs()};

  VoleSent out;
  out.message.resize(kVoleMessageBytes);
  OtOutput output(sid);
  ProductSum c0;
  ProductSum c1;
  SecretLimbs alpha0(kOtCount * kWidth);
  std::array<Limbs, kWidth> alpha1;
  for (std::size_t j = 0; j < kOtCount; ++j) {
    const std::uint8_t* column = ot->columns.expose().data() + j * kColumnBytes;
    Limbs* alpha = alpha0.data() + j * kWidth;
    output.scalars(j, column, alpha);
    std::array<std::uint8_t, kColumnBytes> other;
    (Block::load(column) ^ delta).store(other.data());
    output.scalars(j, other.data(), alpha1.data());
    c0.add_product(gadget[j], alpha[0]);
    c1.add_product(gadget[j], alpha[1]);
    for (std::size_t i = 0; i < kWidth; ++i) {
      limbs_to_bytes(add(subtract(alpha[i], alpha1[i]), *input[i]),
                     out.message.data() + 32 * (j * kWidth + i));
    }
  }
  sodium_memzero(alpha1.data(), sizeof alpha1);
  declassify(out.message.data(), kRowsBytes);  // sent: one of α_0, α_1 of each row masks it

  const std::array<Limbs, 2> theta = theta_of(sid, ByteView(out.message).first(kRowsBytes));
  ProductSum eta;
  eta.add(a_hat.limbs()).add_product(theta[0], a0.limbs()).add_product(theta[1], a1.limbs());
  limbs_to_bytes(eta.reduce(), out.message.data() + kRowsBytes);
  SecretVector mu(kOtCount * 32);
  for (std::size_t j = 0; j < kOtCount; ++j) {
    const Limbs* alpha = alpha0.data() + j * kWidth;
    ProductSum check;
    check.add_product(theta[0], alpha[0]).add_product(theta[1], alpha[1]).add(alpha[2]);
    limbs_to_bytes(check.reduce(), mu.data() + 32 * j);
  }
  mu_hash(sid, mu, std::span(out.message).last(32));
  declassify(out.message.data() + kRowsBytes, 64);  // sent: â masks η, and μ is hashed
  out.c = {-SecretScalar(c0.reduce()), -SecretScalar(c1.reduce())};
  return out;
}

}  // namespace cosigner::dkls23
