#include "crypto/dkls23/ot_extension.h"

#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"
#include "crypto/dkls23/gf128.h"

namespace cosigner::dkls23 {

namespace {

using Row = std::array<std::uint8_t, kRowBytes>;
using Rows = SecretBytes<kLambda * kRowBytes>;  ///< λ_c rows of ξ' bits

/// r_{g,x} = XOF(tag, 68; sid, g, x, leaf).
class RowGenerator {
 public:
  explicit RowGenerator(const Digest& sid) : hash_(tag::kOtExtensionPrg, sid) {
    group_ = block_.part_u32(0);
    leaf_index_ = block_.part_u32(0);
    leaf_ = block_.part(std::array<std::uint8_t, kSeedBytes>{});
    counter_ = block_.part_u32(0);
  }
  void operator()(std::size_t group, std::size_t leaf_index, ByteView leaves, Row& out) {
    block_.set_u32(group_, static_cast<std::uint32_t>(group));
    block_.set_u32(leaf_index_, static_cast<std::uint32_t>(leaf_index));
    block_.set(leaf_, leaves.data() + (group * kGroupSize + leaf_index) * kSeedBytes, kSeedBytes);
    std::array<std::uint8_t, 96> wide;
    for (std::uint32_t i = 0; i < 3; ++i) {
      block_.set_u32(counter_, i);
      hash_.digest(block_, wide.data() + std::size_t{32} * i);
    }
    std::memcpy(out.data(), wide.data(), kRowBytes);
  }

 private:
  SessionHash hash_;
  HashBlock block_;
  std::size_t group_ = 0;
  std::size_t leaf_index_ = 0;
  std::size_t leaf_ = 0;
  std::size_t counter_ = 0;
};

/// to ^= from & mask, for a row.
void add_row(std::uint8_t* to, const std::uint8_t* from, std::uint64_t mask) {
  std::size_t i = 0;
  for (; i + 8 <= kRowBytes; i += 8) {
    std::uint64_t a = 0;
    std::uint64_t b = 0;
    std::memcpy(&a, to + i, 8);
    std::memcpy(&b, from + i, 8);
    a ^= b & mask;
    std::memcpy(to + i, &a, 8);
  }
  for (; i < kRowBytes; ++i) {
    to[i] = static_cast<std::uint8_t>(to[i] ^ (from[i] & static_cast<std::uint8_t>(mask)));
  }
}

/// χ from all of u.
Challenges challenges_of(const Digest& sid, ByteView u) {
  TaggedHash hash(tag::kOtExtensionU);
  hash.part(sid);
  for (std::size_t g = 0; g < kGroups; ++g) {
    hash.part(u.subspan(g * kRowBytes, kRowBytes));
  }
  const Digest seed = hash.finish();
  Challenges out;
  for (std::size_t m = 0; m < kCheckBlocks; ++m) {
    std::array<std::uint8_t, 16> bytes;
    TaggedHash(tag::kOtExtensionChi)
        .part(seed)
        .part_u32(static_cast<std::uint32_t>(m))
        .expand_into(bytes);
    out[m] = Block::load(bytes.data());
  }
  return out;
}

}  // namespace

OtReceived ot_extension_receive(const Digest& sid, const ReceiverState& state, Random& random) {
  OtReceived out;
  out.message.resize(kOtMessageBytes);
  std::uint8_t* u = out.message.data();
  std::uint8_t* check = u + kGroups * kRowBytes;

  const SecretBytes<kRowBytes> extended = random.secret<kRowBytes>();  // β' = β ‖ S random bits
  std::memcpy(out.beta.expose_mutable().data(), extended.expose().data(), kBetaBytes);

  RowGenerator generate(sid);
  Rows rows;
  Row r;
  for (std::size_t g = 0; g < kGroups; ++g) {
    std::uint8_t* u_row = u + g * kRowBytes;
    std::memcpy(u_row, extended.expose().data(), kRowBytes);
    for (std::size_t x = 0; x < kGroupSize; ++x) {
      generate(g, x, state.leaves.expose(), r);
      add_row(u_row, r.data(), ~std::uint64_t{0});
      for (std::size_t b = 0; b < kGroupBits; ++b) {
        if ((x >> b & 1U) != 0) {  // x is a public index
          add_row(rows.expose_mutable().data() + (g * kGroupBits + b) * kRowBytes, r.data(),
                  ~std::uint64_t{0});
        }
      }
    }
  }
  sodium_memzero(r.data(), r.size());
  declassify(u, kGroups * kRowBytes);  // sent: every row is masked by leaves the peer lacks

  const Challenges challenges = challenges_of(sid, {u, kGroups * kRowBytes});
  linear_check(challenges, RowBlocks::load(extended.expose().data())).store(check);
  for (std::size_t i = 0; i < kLambda; ++i) {
    linear_check(challenges, RowBlocks::load(rows.expose().data() + i * kRowBytes))
        .store(check + 16 + 16 * i);
  }
  declassify(check, 16 + kLambda * 16);  // sent: the S padding bits mask each of them
  transpose_columns(rows.expose().data(), kRowBytes, out.columns.expose_mutable().data());
  return out;
}

std::expected<OtSent, Refusal> ot_extension_send(const Digest& sid, const SenderState& state,
                                                 ByteView message) {
  if (message.size() != kOtMessageBytes) {
    return std::unexpected(Refusal::kMalformed);
  }
  const std::uint8_t* u = message.data();
  const Block x = Block::load(u + kGroups * kRowBytes);
  const std::uint8_t* t = u + kGroups * kRowBytes + 16;

  RowGenerator generate(sid);
  Rows rows;
  Row r;
  for (std::size_t g = 0; g < kGroups; ++g) {
    std::array<std::uint64_t, kGroupBits> delta;
    for (std::size_t b = 0; b < kGroupBits; ++b) {
      delta[b] = bit_of(state.delta.expose(), g * kGroupBits + b);
      add_row(rows.expose_mutable().data() + (g * kGroupBits + b) * kRowBytes, u + g * kRowBytes,
              word_mask(delta[b]));
    }
    for (std::size_t leaf = 0; leaf < kGroupSize; ++leaf) {
      // For the leaf we lack (leaf == Δ_g) every bit of Δ_g ⊕ leaf is zero: what was generated from
      // the zero in its place is masked away.
      generate(g, leaf, state.leaves.expose(), r);
      for (std::size_t b = 0; b < kGroupBits; ++b) {
        add_row(rows.expose_mutable().data() + (g * kGroupBits + b) * kRowBytes, r.data(),
                word_mask(delta[b] ^ (leaf >> b & 1U)));
      }
    }
  }
  sodium_memzero(r.data(), r.size());

  const Challenges challenges = challenges_of(sid, {u, kGroups * kRowBytes});
  Block difference;
  for (std::size_t i = 0; i < kLambda; ++i) {
    Block row = linear_check(challenges, RowBlocks::load(rows.expose().data() + i * kRowBytes));
    row ^= Block::load(t + 16 * i);
    row ^= x.masked(word_mask(bit_of(state.delta.expose(), i)));
    difference.low |= row.low;
    difference.high |= row.high;
  }
  // One verdict over all rows is what comes out; a failure costs the pair its OT state.
  if (declassified(difference.low | difference.high) != 0) {
    return std::unexpected(Refusal::kCheckFailed);
  }
  OtSent out;
  transpose_columns(rows.expose().data(), kRowBytes, out.columns.expose_mutable().data());
  return out;
}

OtOutput::OtOutput(const Digest& sid) : hash_(tag::kOtExtensionOut, sid) {
  j_ = block_.part_u32(0);
  c_ = block_.part_u32(0);
  column_ = block_.part(std::array<std::uint8_t, kColumnBytes>{});
}

void OtOutput::scalars(std::size_t j, const std::uint8_t* column, secp256k1::Limbs* out) {
  block_.set_u32(j_, static_cast<std::uint32_t>(j));
  block_.set(column_, column, kColumnBytes);
  std::array<std::uint8_t, 32> bytes;
  for (std::uint32_t c = 0; c < kWidth; ++c) {
    block_.set_u32(c_, c);
    hash_.digest(block_, bytes.data());
    out[c] = secp256k1::limbs_reduced(bytes.data());
  }
}

}  // namespace cosigner::dkls23
