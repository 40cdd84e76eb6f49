#include "crypto/dkls23/pprf.h"

#include <cassert>

#include "crypto/base/declassify.h"
#include "crypto/base/hash.h"
#include "crypto/dkls23/session_hash.h"

namespace cosigner::dkls23 {

namespace {

using Nodes = std::array<Block, kGroupSize>;
using Proof = std::array<Block, 2>;  ///< 32 bytes

/// H(tag; sid, group, number, node, u32 0): one block of the XOF is all that is ever needed.
class NodeHash {
 public:
  NodeHash(tag::Tag tag, const Digest& sid) : hash_(tag, sid) {
    group_ = block_.part_u32(0);
    number_ = block_.part_u32(0);
    node_ = block_.part(std::array<std::uint8_t, kSeedBytes>{});
    block_.part_u32(0);
  }
  Proof operator()(std::size_t group, std::size_t number, Block node) {
    block_.set_u32(group_, static_cast<std::uint32_t>(group));
    block_.set_u32(number_, static_cast<std::uint32_t>(number));
    std::array<std::uint8_t, 32> bytes;
    node.store(bytes.data());
    block_.set(node_, bytes.data(), kSeedBytes);
    hash_.digest(block_, bytes.data());
    const Proof out{Block::load(bytes.data()), Block::load(bytes.data() + 16)};
    sodium_memzero(bytes.data(), bytes.size());
    return out;
  }

 private:
  SessionHash hash_;
  HashBlock block_;
  std::size_t group_ = 0;
  std::size_t number_ = 0;
  std::size_t node_ = 0;
};

/// s̃: over all proofs of a group. Secret at the evaluator until it is compared.
Proof hash_proofs(const Digest& sid, std::size_t group,
                  const std::array<Proof, kGroupSize>& proofs) {
  TaggedHash hash(tag::kPprfHash);
  hash.part(sid).part_u32(static_cast<std::uint32_t>(group));
  for (const Proof& proof : proofs) {
    std::array<std::uint8_t, 32> bytes;
    proof[0].store(bytes.data());
    proof[1].store(bytes.data() + 16);
    hash.part(bytes);
  }
  std::array<std::uint8_t, 32> out;
  hash.finish_into(out);
  return {Block::load(out.data()), Block::load(out.data() + 16)};
}

std::size_t leaf_offset(std::size_t group, std::size_t leaf) {
  return (group * kGroupSize + leaf) * kSeedBytes;
}

Block load(const OtKey& key) {
  return Block::load(key.expose().data());
}

void append(ByteVector& out, Block block) {
  std::array<std::uint8_t, 16> bytes;
  block.store(bytes.data());
  declassify(bytes.data(), bytes.size());  // corrections, s̃ and t̃ go to the peer
  out.insert(out.end(), bytes.begin(), bytes.end());
}

}  // namespace

PprfBuilt pprf_build(const Digest& sid, std::span<const std::array<OtKey, 2>> keys) {
  assert(keys.size() == kLambda);
  NodeHash expand(tag::kPprfExpand, sid);
  NodeHash prove(tag::kPprfProof, sid);
  PprfBuilt out;
  out.message.reserve(kPprfMessageBytes);
  Nodes nodes{};
  for (std::size_t g = 0; g < kGroups; ++g) {
    nodes[0] = load(keys[g * kGroupBits][0]);
    nodes[1] = load(keys[g * kGroupBits][1]);
    for (std::size_t depth = 1, width = 2; depth < kGroupBits; ++depth, width *= 2) {
      Nodes children{};
      std::array<Block, 2> correction{load(keys[g * kGroupBits + depth][0]),
                                      load(keys[g * kGroupBits + depth][1])};
      for (std::size_t y = 0; y < width; ++y) {
        const Proof both = expand(g, depth, nodes[y]);
        children[2 * y] = both[0];
        children[2 * y + 1] = both[1];
        correction[0] ^= both[0];
        correction[1] ^= both[1];
      }
      append(out.message, correction[0]);
      append(out.message, correction[1]);
      nodes = children;
    }
    std::array<Proof, kGroupSize> proofs;
    Proof sum{};
    for (std::size_t y = 0; y < kGroupSize; ++y) {
      proofs[y] = prove(g, y, nodes[y]);
      sum[0] ^= proofs[y][0];
      sum[1] ^= proofs[y][1];
      nodes[y].store(out.state.leaves.expose_mutable().data() + leaf_offset(g, y));
    }
    const Proof hash = hash_proofs(sid, g, proofs);
    append(out.message, hash[0]);
    append(out.message, hash[1]);
    append(out.message, sum[0]);
    append(out.message, sum[1]);
  }
  sodium_memzero(nodes.data(), sizeof nodes);
  return out;
}

std::expected<SenderState, Refusal> pprf_evaluate(const Digest& sid, ByteView choices,
                                                  std::span<const OtKey> keys, ByteView message) {
  assert(keys.size() == kLambda && choices.size() == kLambda / 8);
  if (message.size() != kPprfMessageBytes) {
    return std::unexpected(Refusal::kMalformed);
  }
  NodeHash expand(tag::kPprfExpand, sid);
  NodeHash prove(tag::kPprfProof, sid);
  SenderState out;
  std::uint64_t wrong = 0;
  Nodes nodes{};
  for (std::size_t g = 0; g < kGroups; ++g) {
    const std::uint8_t* in = message.data() + g * kPprfGroupBytes;
    const std::uint64_t first = bit_of(choices, g * kGroupBits);
    nodes[0] = load(keys[g * kGroupBits]).masked(word_mask(first ^ 1U));
    nodes[1] = load(keys[g * kGroupBits]).masked(word_mask(first));
    std::uint64_t missing = first ^ 1U;  // y*: the node we cannot know
    for (std::size_t depth = 1, width = 2; depth < kGroupBits; ++depth, width *= 2) {
      const std::uint64_t choice = bit_of(choices, g * kGroupBits + depth);
      // Both candidates for the missing node's known child, from the corrections of both sides.
      std::array<Block, 2> rest{Block::load(in), Block::load(in + kSeedBytes)};
      in += 2 * kSeedBytes;
      Nodes children{};
      for (std::size_t y = 0; y < width; ++y) {
        // The unknown node is expanded as well (from zero), then masked: time tells nothing.
        const std::uint64_t known = ~equal_mask(y, missing);
        const Proof both = expand(g, depth, nodes[y]);
        children[2 * y] = both[0].masked(known);
        children[2 * y + 1] = both[1].masked(known);
        rest[0] ^= children[2 * y];
        rest[1] ^= children[2 * y + 1];
      }
      const Block recovered = rest[0].masked(word_mask(choice ^ 1U)) ^
                              rest[1].masked(word_mask(choice)) ^
                              load(keys[g * kGroupBits + depth]);
      for (std::size_t child = 0; child < 2 * width; ++child) {
        children[child] ^= recovered.masked(equal_mask(child, 2 * missing + choice));
      }
      missing = 2 * missing + (choice ^ 1U);
      nodes = children;
    }
    std::array<Proof, kGroupSize> proofs;
    Proof rest{Block::load(in + 32), Block::load(in + 48)};
    for (std::size_t y = 0; y < kGroupSize; ++y) {
      const std::uint64_t known = ~equal_mask(y, missing);
      const Proof proof = prove(g, y, nodes[y]);
      proofs[y] = {proof[0].masked(known), proof[1].masked(known)};
      rest[0] ^= proofs[y][0];
      rest[1] ^= proofs[y][1];
      nodes[y].store(out.leaves.expose_mutable().data() + leaf_offset(g, y));
    }
    for (std::size_t y = 0; y < kGroupSize; ++y) {
      const std::uint64_t here = equal_mask(y, missing);
      proofs[y][0] ^= rest[0].masked(here);
      proofs[y][1] ^= rest[1].masked(here);
    }
    const Proof hash = hash_proofs(sid, g, proofs);
    const Block low = hash[0] ^ Block::load(in);
    const Block high = hash[1] ^ Block::load(in + 16);
    wrong |= low.low | low.high | high.low | high.high;
    for (std::size_t b = 0; b < kGroupBits; ++b) {
      const std::size_t position = g * kGroupBits + b;
      out.delta.expose_mutable()[position / 8] |=
          static_cast<std::uint8_t>(((missing >> b) & 1U) << (position % 8));
    }
  }
  sodium_memzero(nodes.data(), sizeof nodes);
  // The verdict over all groups at once is the one thing that comes out.
  if (declassified(wrong) != 0) {
    return std::unexpected(Refusal::kCheckFailed);
  }
  return out;
}

}  // namespace cosigner::dkls23
