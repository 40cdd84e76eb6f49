// SHA256_* is deprecated in OpenSSL 3 in favour of EVP, which allocates and fetches; see hash.h for
// the cost.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include "crypto/base/hash.h"

#include <sodium.h>

#include <array>
#include <cassert>

namespace cosigner {

Sha256::Sha256() {
  SHA256_Init(&context_);
}

Sha256& Sha256::update(ByteView bytes) {
  SHA256_Update(&context_, bytes.data(), bytes.size());
  return *this;
}

Digest Sha256::finish() {
  Digest out;
  finish_into(out.span());
  return out;
}

void Sha256::finish_into(std::span<std::uint8_t> out) {
  assert(out.size() == SHA256_DIGEST_LENGTH);
  SHA256_Final(out.data(), &context_);  // wipes the block; the chaining value is burn_stack()'s
}

namespace {
template <std::size_t N>
std::array<std::uint8_t, N> big_endian(std::uint64_t value) {
  std::array<std::uint8_t, N> out{};
  for (std::size_t i = 0; i < N; ++i) {
    out[N - 1 - i] = static_cast<std::uint8_t>(value >> (8 * i));
  }
  return out;
}
}  // namespace

TaggedHash::TaggedHash(tag::Tag tag) {
  const Digest prefix = Sha256().update(as_bytes(tag.name)).finish();
  sha_.update(prefix).update(prefix);
}

TaggedHash& TaggedHash::part(ByteView bytes) {
  assert(bytes.size() <= UINT32_MAX);
  sha_.update(big_endian<4>(bytes.size())).update(bytes);
  return *this;
}
TaggedHash& TaggedHash::part_u8(std::uint8_t value) {
  return part(big_endian<1>(value));
}
TaggedHash& TaggedHash::part_u16(std::uint16_t value) {
  return part(big_endian<2>(value));
}
TaggedHash& TaggedHash::part_u32(std::uint32_t value) {
  return part(big_endian<4>(value));
}
TaggedHash& TaggedHash::part_u64(std::uint64_t value) {
  return part(big_endian<8>(value));
}

void TaggedHash::expand_into(std::span<std::uint8_t> out) const {
  std::uint32_t counter = 0;
  while (!out.empty()) {
    TaggedHash block = *this;
    block.part_u32(counter++);
    if (out.size() >= SHA256_DIGEST_LENGTH) {
      block.finish_into(out.first(SHA256_DIGEST_LENGTH));
      out = out.subspan(SHA256_DIGEST_LENGTH);
    } else {
      std::array<std::uint8_t, SHA256_DIGEST_LENGTH> last{};
      block.finish_into(last);
      std::memcpy(out.data(), last.data(), out.size());
      sodium_memzero(last.data(), last.size());
      out = {};
    }
  }
}

}  // namespace cosigner

#pragma GCC diagnostic pop
