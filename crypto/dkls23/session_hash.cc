// SHA256_Transform and friends are deprecated in OpenSSL 3 in favour of EVP; see
// crypto/base/hash.h.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#include "crypto/dkls23/session_hash.h"

#include <sodium.h>

#include <cassert>

#include "crypto/base/hash.h"

namespace cosigner::dkls23 {

namespace {
constexpr std::size_t kFiller = 64 - (4 + 32) - 4;  // 24: brings sid's block to its end
constexpr std::size_t kMaxSuffix = 55;              // leaves 0x80 and the 8-byte length
}  // namespace

HashBlock::HashBlock() {
  pad();
}
HashBlock::~HashBlock() {
  sodium_memzero(bytes_.data(), bytes_.size());
}

std::size_t HashBlock::part_u32(std::uint32_t value) {
  const std::uint32_t big_endian = __builtin_bswap32(value);
  return part({reinterpret_cast<const std::uint8_t*>(&big_endian), 4});
}

std::size_t HashBlock::part(ByteView bytes) {
  assert(used_ + 4 + bytes.size() <= kMaxSuffix);
  set_u32(used_, static_cast<std::uint32_t>(bytes.size()));
  const std::size_t offset = used_ + 4;
  set(offset, bytes.data(), bytes.size());
  used_ = offset + bytes.size();
  pad();
  return offset;
}

void HashBlock::pad() {
  std::memset(bytes_.data() + used_, 0, bytes_.size() - used_);
  bytes_[used_] = 0x80;
  set_u32(60, static_cast<std::uint32_t>((128 + used_) * 8));
}

SessionHash::SessionHash(tag::Tag tag, const Digest& sid) {
  const Digest prefix = Sha256().update(as_bytes(tag.name)).finish();
  std::array<std::uint8_t, 64> second{};
  second[3] = 32;
  std::memcpy(second.data() + 4, sid.data.data(), 32);
  second[39] = kFiller;
  SHA256_Init(&midstate_);
  SHA256_Update(&midstate_, prefix.data.data(), 32);
  SHA256_Update(&midstate_, prefix.data.data(), 32);
  SHA256_Update(&midstate_, second.data(), second.size());
}

void SessionHash::digest(const HashBlock& block, std::uint8_t* out) const {
  SHA256_CTX state;
  std::memcpy(state.h, midstate_.h, sizeof state.h);
  SHA256_Transform(&state, block.bytes_.data());
  for (std::size_t i = 0; i < 8; ++i) {
    const std::uint32_t word = __builtin_bswap32(state.h[i]);
    std::memcpy(out + 4 * i, &word, 4);
  }
}

}  // namespace cosigner::dkls23

#pragma GCC diagnostic pop
